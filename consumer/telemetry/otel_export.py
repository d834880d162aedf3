"""Where OpenTelemetry's spans go: OpenTelemetry's own variables (OTEL_*) choose the exporter.

A job never waits for an export: ended spans go into a thread's queue, which drops what exceeds it.
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
#: How other exporters are found: by the name that their package registers here.
EXPORTERS = "opentelemetry_traces_exporter"
#: At the end, for what was not sent yet. The SDK alone would wait 30 s for a collector that is away.
FLUSH_S = 5.0


@contextmanager
def span_processor(environment: Mapping[str, str], flush_s: float) -> Iterator[SpanProcessor]:
    """Give what exports spans, or drops them where the variables say `none`; export the rest at the end.

    The end takes `flush_s` seconds at most.

    Raises:
        ConfigurationError: there is no such exporter, or it does not accept its variables.
    """
    if not logging.getLogger().isEnabledFor(logging.DEBUG):  # the library logs five lines a batch; we log one
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
    """Logs once when spans are lost, and once when they are accepted again.

    Mutable state: `_is_accepted`, how the last export ended.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_accepted = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export, in the processor's own thread."""
        result = self._exporter.export(spans)
        is_accepted = result is SpanExportResult.SUCCESS
        if self._is_accepted and not is_accepted:
            log.warning(
                "spans are lost: no collector accepts them; check that it runs at OTEL_EXPORTER_OTLP_ENDPOINT "
                "(default http://localhost:4318); --log-level DEBUG logs each attempt",
                extra={"event": "spans_lost"},
            )
        elif is_accepted and not self._is_accepted:
            log.info("the collector accepts spans again", extra={"event": "spans_taken"})
        self._is_accepted = is_accepted
        return result

    def shutdown(self) -> None:
        """Give up exports in progress."""
        self._exporter.shutdown()


def exporter(environment: Mapping[str, str]) -> SpanExporter:
    """Make the exporter that the OTEL_* variables name; by default OTLP over HTTP.

    Raises:
        ConfigurationError: no exporter of that name is installed, or it refuses its variables.
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
