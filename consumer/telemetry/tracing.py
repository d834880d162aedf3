"""Traces the steps of a delivery. Each call begins a step and ends the one before it.

The classes here record nothing. Their subclasses in otel.py do; tracer_setup.py chooses.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from consumer.disposition import Disposition, Settlement
from consumer.job import Job, Outcome, Request


class Trace:
    """Traces the steps of one delivery. This class records nothing; its subclass in otel.py does.

    `traceparent`: the W3C Trace Context of the delivery's span, for log records; if None, log records have the
    producer's.
    """

    traceparent: str | None = None

    def waits(self) -> None:
        """Begin the step that waits for a slot."""

    def runs(self, job: Job, slot: int) -> Job:  # noqa: ARG002 - for the subclass
        """Begin the step of the run; return the job with its traceparent, for the classifier and the reply."""
        return job

    def answers(self, request: Request, outcome: Outcome, decided: Disposition) -> Request:  # noqa: ARG002 - as above
        """End the run's step and begin the settling's; return `request` with the traceparent of the run in it."""
        return request

    def settled(self, outcome: Outcome, settlement: Settlement) -> None:
        """Record the outcome and the settlement of the delivery."""

    def lost(self, error: Exception) -> None:
        """Record that the delivery could not be settled."""


class Tracer:
    """Begins a trace for each delivery. This class does nothing; the subclass in otel.py begins traces."""

    def receiving(self, request: Request, size: int) -> AbstractContextManager[Trace]:  # noqa: ARG002 - as above
        """Trace the block, for a body of `size` bytes; all spans end with it, even after an exception."""
        return nullcontext(NO_TRACE)


NO_TRACE = Trace()
UNTRACED = Tracer()
