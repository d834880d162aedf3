"""Exports OpenTelemetry's spans; OpenTelemetry's own variables (OTEL_*) choose the exporter.

A job never waits for an export: a thread exports ended spans from its queue, and a full queue drops spans.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from consumer.errors import ConfigurationError

log = logging.getLogger(__name__)

EXPORTER_VARIABLE = "OTEL_TRACES_EXPORTER"
#: The entry points under which packages register other exporters.
EXPORTERS = "opentelemetry_traces_exporter"
#: The time limit for sending the last spans. The SDK's own is 30 s, all of it used up when the collector is down.
FLUSH_S = 5.0


@contextmanager
def span_processor(environment: Mapping[str, str], flush_s: float) -> Iterator[SpanProcessor]:
    """Make the processor that exports spans, or drops them if the exporter is `none`; export the rest at the end.

    Exporting the rest takes at most `flush_s` seconds.

    Raises:
        ConfigurationError: the exporter is not installed, or it refuses its variables.
    """
    if not logging.getLogger().isEnabledFor(logging.DEBUG):  # the library logs five lines per batch; we log one
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    is_on = environment.get(EXPORTER_VARIABLE) != "none"
    processor = BatchSpanProcessor(ReportingExporter(exporter(environment))) if is_on else SpanProcessor()
    try:
        yield processor
    finally:
        flush = threading.Thread(target=processor.shutdown, daemon=True)
        flush.start()
        flush.join(flush_s)


class ReportingExporter(SpanExporter):
    """Logs the first export that fails, and the first that succeeds again.

    Mutable state: `_is_accepted`, whether the last export succeeded.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_accepted = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the spans; the processor calls this in its own thread."""
        result = self._exporter.export(spans)
        is_accepted = result is SpanExportResult.SUCCESS
        if self._is_accepted and not is_accepted:
            log.warning(
                "spans are lost: no collector accepts them; check that it runs at OTEL_EXPORTER_OTLP_ENDPOINT "
                "(default http://localhost:4318); log_level DEBUG logs each attempt",
                extra={"event": "spans_lost"},
            )
        elif is_accepted and not self._is_accepted:
            log.info("the collector accepts spans again", extra={"event": "spans_taken"})
        self._is_accepted = is_accepted
        return result

    def shutdown(self) -> None:
        """Abort exports in progress."""
        self._exporter.shutdown()


def exporter(environment: Mapping[str, str]) -> SpanExporter:
    """Make the exporter that the OTEL_* variables name; by default OTLP over HTTP.

    Raises:
        ConfigurationError: the exporter is not installed, or it refuses its variables.
    """
    name = environment.get(EXPORTER_VARIABLE) or "otlp"
    known = {found.name: found for found in entry_points(group=EXPORTERS)}
    if name != "otlp" and name not in known:
        raise ConfigurationError(
            f"{EXPORTER_VARIABLE} = {name!r}: no such exporter is installed; set it to otlp or none, or to one of "
            f"{', '.join(sorted(known))}"
        )
    try:
        made: SpanExporter = OTLPSpanExporter() if name == "otlp" else known[name].load()()
    except (ValueError, OSError) as error:
        raise ConfigurationError(
            f"the exporter {name!r} cannot be used: {error}; correct its OTEL_EXPORTER_OTLP_* variables"
        ) from None
    return made
