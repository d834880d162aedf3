"""What is told about a delivery to whoever traces it: the steps of its life, each when it begins.

Steps follow each other, so beginning one ends the one before. Knows nothing of OpenTelemetry: otel.py alone
does, and is imported only where `tracing` is on. Otherwise there is `UNTRACED`, which does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from consumer.disposition import Disposition, Settlement
from consumer.errors import ConfigurationError
from consumer.job import Job, Outcome, Request

#: How the extra is named in messages; it brings opentelemetry-sdk and the exporter for OTLP over HTTP.
EXTRA = "rabbitmq-classifier[otel]"
DEFAULT_COLLECTOR = "http://localhost:4318"


class Trace(Protocol):
    """One delivery's spans. `traceparent`: what its log records are to name; None: what came with the message."""

    @property
    def traceparent(self) -> str | None:
        """W3C Trace Context of the span that spans the whole delivery."""

    def waits(self) -> None:
        """Begin to wait for a slot."""

    def runs(self, job: Job, slot: int) -> Job:
        """Begin to run; return the job with the run's own traceparent, for the classifier and the reply."""

    def answers(self, request: Request, outcome: Outcome, decided: Disposition) -> Request:
        """End the run with its outcome, begin to publish and to settle; return the request as `runs` does."""

    def settled(self, outcome: Outcome, settlement: Settlement) -> None:
        """Say how it has ended."""

    def lost(self, error: Exception) -> None:
        """Say that it could not be settled."""


class Tracer(Protocol):
    """Begins a trace for each delivery."""

    def receiving(self, request: Request, size: int) -> AbstractContextManager[Trace]:
        """Trace the block, for a body of `size` bytes; all spans have ended after it, whatever happened."""


class Untraced:
    """Both of the above, where nothing is traced."""

    traceparent = None

    def receiving(self, _request: Request, _size: int) -> AbstractContextManager[Trace]:
        """Trace nothing."""
        return _NOTHING

    def waits(self) -> None:
        """Do nothing."""

    def runs(self, job: Job, _slot: int) -> Job:
        """Leave the producer's traceparent."""
        return job

    def answers(self, request: Request, _outcome: Outcome, _decided: Disposition) -> Request:
        """Leave the producer's traceparent."""
        return request

    def settled(self, _outcome: Outcome, _settlement: Settlement) -> None:
        """Do nothing."""

    def lost(self, _error: Exception) -> None:
        """Do nothing."""


UNTRACED = Untraced()
_NOTHING: AbstractContextManager[Trace] = nullcontext(UNTRACED)


@contextmanager
def tracing(queue: str, consumer: str, *, is_on: bool) -> Iterator[Tracer]:
    """Give the tracer for the block; what it has not sent by the end is sent then.

    Args:
        queue: the jobs queue.
        consumer: which process this is.
        is_on: the setting `tracing`.

    Raises:
        ConfigurationError: the extra is not installed, or an OTEL_* variable cannot be used.
    """
    if not is_on:
        yield UNTRACED
        return
    see_installed()
    from consumer.telemetry.otel import OpenTelemetry  # noqa: PLC0415 - half a second that only who traces pays

    with OpenTelemetry.opened(queue, consumer) as tracer:
        yield tracer


def collector(environment: Mapping[str, str]) -> str:
    """Name the address to which spans go by OTLP over HTTP."""
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    return next(filter(None, map(environment.get, names)), DEFAULT_COLLECTOR)


def see_installed() -> None:
    """See that OpenTelemetry is there.

    Raises:
        ConfigurationError: naming the extra.
    """
    try:
        import consumer.telemetry.otel  # noqa: F401, PLC0415 - as above
    except ImportError as error:
        raise ConfigurationError(
            f"`tracing` is on, but OpenTelemetry is not there ({error}); `pip install '{EXTRA}'`, or set "
            "`tracing` to false"
        ) from None
