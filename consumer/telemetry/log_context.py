"""Knows which job the running code works on, and adds it to every log record.

A context variable holds the job: each delivery's task sets its own when it has read the request, and adds slot and
model later. A task that outlives the job must start in an empty context, or its records would name the job.
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
    """A delivery's job. Mutable state: `slot` and `model`, None while unknown; `trace`."""

    request: Request
    slot: int | None = None
    model: str | None = None
    trace: Trace = NO_TRACE

    def fields(self) -> dict[str, Field]:
        """Return the known fields, for a record."""
        known: dict[str, Field | None] = {
            "job_id": self.request.id,
            "attempt": self.request.attempt,
            "slot": self.slot,
            "model": self.model,
            "traceparent": self.trace.traceparent or self.request.traceparent,
        }
        return {name: value for name, value in known.items() if value is not None}


@dataclass(frozen=True, slots=True)
class BatchContext:
    """Several jobs in one run: its records name all of them."""

    requests: Sequence[Request]
    slot: int

    def fields(self) -> dict[str, Field]:
        """Return the known fields, for a record."""
        return {"job_ids": [request.id for request in self.requests], "slot": self.slot}


_current: ContextVar[JobContext | BatchContext | None] = ContextVar("job", default=None)


def begin(request: Request) -> JobContext:
    """Set the request that this task works on from now on."""
    context = JobContext(request)
    _current.set(context)
    return context


def begin_batch(requests: Sequence[Request], slot: int) -> None:
    """Set the requests that this task works on from now on."""
    _current.set(BatchContext(requests, slot))


def move(slot: int) -> None:
    """Change the slot of the job that this task works on, if there is one."""
    if isinstance(context := _current.get(), JobContext):
        context.slot = slot


def fields() -> dict[str, Field]:
    """Return the known fields of the job that the running code works on; none without a job."""
    context = _current.get()
    return context.fields() if context else {}
