"""Which job the running code is at work on, so that every record of the log can say so.

A context variable: each delivery's task has its own, set once when its request is known, and filled in on the way.
What is started for a job but outlives it must be started in an empty context, or it would speak in the job's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

from consumer.job import Request
from consumer.telemetry.tracing import NO_TRACE, Trace

Field: TypeAlias = str | int | list[str]


@dataclass(slots=True)
class JobContext:
    """One delivery. Mutable state: `slot` and `model`, None until they are known, or for good; `trace`."""

    request: Request
    slot: int | None = None
    model: str | None = None
    trace: Trace = NO_TRACE

    def fields(self) -> dict[str, Field]:
        """Name what is known, for a record."""
        known: dict[str, Field | None] = {
            "job": self.request.id,
            "attempt": self.request.attempt,
            "slot": self.slot,
            "model": self.model,
            "traceparent": self.trace.traceparent or self.request.traceparent,
        }
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True)
class BatchContext:
    """Several jobs in one run: what it says is said of each of them."""

    requests: Sequence[Request]
    slot: int

    def fields(self) -> dict[str, Field]:
        """Name what is known, for a record."""
        return {"jobs": [request.id for request in self.requests], "slot": self.slot}


_current: ContextVar[JobContext | BatchContext | None] = ContextVar("job", default=None)


def begin(request: Request) -> JobContext:
    """Let this task, from now on, be at work on this request."""
    context = JobContext(request)
    _current.set(context)
    return context


def begin_batch(requests: Sequence[Request], slot: int) -> None:
    """Let this task, from now on, be at work on all of these."""
    _current.set(BatchContext(requests, slot))


def move(slot: int) -> None:
    """The job that this task is at work on, if any, is at another slot now."""
    if isinstance(context := _current.get(), JobContext):
        context.slot = slot


def fields() -> dict[str, Field]:
    """Name what is known of the job that the running code is at work on; nothing where there is none."""
    context = _current.get()
    return context.fields() if context else {}
