"""Which job the running code is at work on, so that every record of the log can say so.

A context variable: each delivery's task has its own, set once when its request is known, and filled in on the way.
What is started for a job but outlives it must be started in an empty context, or it would speak in the job's name.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from consumer.job import Request
from consumer.spans import UNTRACED, Trace


@dataclass(slots=True)
class JobContext:
    """One delivery. Mutable state: `slot` and `model`, None until they are known, or for good; `trace`."""

    request: Request
    slot: int | None = None
    model: str | None = None
    trace: Trace = UNTRACED

    def fields(self) -> dict[str, str | int]:
        """Name what is known, for a record."""
        known: dict[str, str | int | None] = {
            "job": self.request.id,
            "attempt": self.request.attempt,
            "slot": self.slot,
            "model": self.model,
            "traceparent": self.trace.traceparent or self.request.traceparent,
        }
        return {name: value for name, value in known.items() if value is not None}


_current: ContextVar[JobContext | None] = ContextVar("job", default=None)


def begin(request: Request) -> JobContext:
    """Let this task, from now on, be at work on this request."""
    context = JobContext(request)
    _current.set(context)
    return context


def fields() -> dict[str, str | int]:
    """Name what is known of the job that the running code is at work on; nothing where there is none."""
    context = _current.get()
    return context.fields() if context else {}
