"""Traces the steps of a delivery. Each call begins a step and ends the one before it.

Only otel.py, imported only when `tracing` is on, knows OpenTelemetry and records anything. The classes here record
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from consumer.disposition import Disposition, Settlement
from consumer.errors import ConfigurationError
from consumer.job import Job, Outcome, Request

#: The extra that installs opentelemetry-sdk and the exporter for OTLP over HTTP.
EXTRA = "rabbitmq-classifier[otel]"
DEFAULT_COLLECTOR = "http://localhost:4318"


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


@contextmanager
def tracing(queue: str, consumer: str, *, is_on: bool) -> Iterator[Tracer]:
    """Make the tracer for the block; send the remaining spans at its end.

    Args:
        queue: the jobs queue.
        consumer: the name of this process.
        is_on: the setting `tracing`.

    Raises:
        ConfigurationError: the extra is not installed, or an OTEL_* variable cannot be used.
    """
    if not is_on:
        yield UNTRACED
        return
    see_installed()
    from consumer.telemetry.otel import OpenTelemetry  # noqa: PLC0415 - takes half a second

    with OpenTelemetry.opened(queue, consumer) as tracer:
        yield tracer


def collector(environment: Mapping[str, str]) -> str:
    """Return the URL that receives the spans by OTLP over HTTP."""
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return next(filter(None, map(environment.get, names)), DEFAULT_COLLECTOR)


def see_installed() -> None:
    """Check that OpenTelemetry is installed.

    Raises:
        ConfigurationError: it is not; the message names the extra to install.
    """
    try:
        import consumer.telemetry.otel  # noqa: F401, PLC0415 - as above
    except ImportError as error:
        raise ConfigurationError(
            f"`tracing` is on, but OpenTelemetry is not installed ({error}); `pip install '{EXTRA}'`, or set "
            "`tracing` to false"
        ) from None
