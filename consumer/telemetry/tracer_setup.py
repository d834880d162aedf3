"""Makes the tracer that the setting `tracing` chooses, and says what is missing for it.

Imports OpenTelemetry, an optional extra, only when `tracing` is on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from consumer.errors import ConfigurationError
from consumer.telemetry.tracing import UNTRACED, Tracer

#: The extra that installs opentelemetry-sdk and the exporter for OTLP over HTTP.
EXTRA = "rabbitmq-classifier[otel]"
DEFAULT_COLLECTOR = "http://localhost:4318"


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
