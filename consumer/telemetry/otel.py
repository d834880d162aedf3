"""Each delivery as OpenTelemetry's spans: `receive` around it all, and in it `wait`, `run` and `reply`.

`receive` is a child of the span that the message's `traceparent` names. A run's own traceparent goes to the
classifier and into the reply, so that who has asked, and whatever the classifier calls, are in one picture.
Attributes are those of OpenTelemetry's conventions for messaging (1.30) where it has a name; the others begin with
`classifier.`. The only module that knows OpenTelemetry, whose own variables (OTEL_*) say where spans go.

A job never waits for an export: ended spans go to a thread's queue, which drops what is too much.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from consumer._version import PRODUCT, VERSION
from consumer.disposition import Disposition, Settlement
from consumer.errors import ConfigurationError
from consumer.escaping import escaped
from consumer.job import ErrorCode, Job, Outcome, Request, Unsuccessful
from consumer.wire.message import TRACEPARENT_HEADER
from consumer.wire.reply_address import CALLERS_OWN_PREFIXES

log = logging.getLogger(__name__)

EXPORTER_VARIABLE = "OTEL_TRACES_EXPORTER"
#: How other exporters are found: by the name that their package registers here.
EXPORTERS = "opentelemetry_traces_exporter"
#: At the end, for what was not sent yet. The SDK alone would wait 30 s for a collector that is away.
FLUSH_S = 5.0
#: Of a failure's message; the error record has all of it.
MESSAGE_CHARACTERS = 1000

Attributes = Mapping[str, str | int]
_PROPAGATOR = TraceContextTextMapPropagator()


class Spans:
    """One delivery's spans.

    Mutable state: `_step`, the span of what is done now; `_own`, the traceparent that goes with the answer: that
    of the run, or of the whole where nothing has run.
    """

    def __init__(self, tracer: trace.Tracer, whole: Span, queue: str, job: Attributes) -> None:
        self._tracer = tracer
        self._whole = whole
        self._queue = queue
        self._job = job
        self._step: Span | None = None
        self.traceparent = self._own = _traceparent(whole)

    def waits(self) -> None:
        """Begin to wait for a slot."""
        self._begin("wait", SpanKind.INTERNAL, {})

    def runs(self, job: Job, slot: int) -> Job:
        """Begin to run; return the job with the run's own traceparent."""
        known: Attributes = {"classifier.slot": slot, **({"classifier.job.model": job.model} if job.model else {})}
        self._whole.set_attributes(known)
        self._own = _traceparent(self._begin("run", SpanKind.INTERNAL, known))
        return replace(job, request=replace(job.request, traceparent=self._own))

    def answers(self, request: Request, outcome: Outcome, decided: Disposition) -> Request:
        """End what was done until now with its outcome; begin to publish and to settle."""
        if self._step:
            _conclude(self._step, outcome)
        if decided.replies and request.reply_to:
            name, answering = _addressed(request.reply_to)
            self._begin(name, SpanKind.PRODUCER, answering)
        else:
            self._begin(f"settle {self._queue}", SpanKind.CLIENT, _messaging("settle", "settle", self._queue))
        return replace(request, traceparent=self._own)

    def settled(self, outcome: Outcome, settlement: Settlement) -> None:
        """Say how it has ended."""
        spans = [span for span in (self._whole, self._step) if span]
        for span in spans:
            span.set_attribute("classifier.settlement", settlement.value)
        _conclude(self._whole, outcome)
        if settlement is Settlement.DEAD_LETTER and not isinstance(outcome, Unsuccessful):
            for span in spans:
                _fail(span, ErrorCode.UNROUTABLE_REPLY, ErrorCode.UNROUTABLE_REPLY.meaning)

    def lost(self, error: Exception) -> None:
        """Say that it could not be settled."""
        for span in (self._whole, self._step):
            if span:
                _fail(span, "connection_lost", str(error))

    def end(self) -> None:
        """End what is done now."""
        if self._step:
            self._step.end()

    def _begin(self, name: str, kind: SpanKind, attributes: Attributes) -> Span:
        self.end()
        # Inside the whole, which is OpenTelemetry's current span for the block in `receiving`.
        step = self._tracer.start_span(name, kind=kind, attributes={**self._job, **attributes})
        self._step = step
        return step


class Told(SpanExporter):
    """Says once when spans are lost, and once when they are taken again.

    Mutable state: `_is_taking`, how the last export ended.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._is_taking = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export, in the processor's own thread."""
        result = self._exporter.export(spans)
        is_taking = result is SpanExportResult.SUCCESS
        if self._is_taking and not is_taking:
            log.warning(
                "spans are lost: no collector takes them; is it running, and does OTEL_EXPORTER_OTLP_ENDPOINT "
                "(else http://localhost:4318) name it? With --log-level DEBUG each try is told",
                extra={"event": "spans_lost"},
            )
        elif is_taking and not self._is_taking:
            log.info("spans are taken again", extra={"event": "spans_taken"})
        self._is_taking = is_taking
        return result

    def shutdown(self) -> None:
        """Give up what is on its way."""
        self._exporter.shutdown()


def _hush() -> None:
    """Drop the library's own lines, five for each batch: we say it once."""
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)


class OpenTelemetry:
    """Begins a trace for each delivery. `queue`: the jobs queue; `consumer`: which process this is."""

    def __init__(self, processor: SpanProcessor, queue: str, consumer: str) -> None:
        provider = TracerProvider(resource=_resource(consumer), shutdown_on_exit=False)
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer(PRODUCT, VERSION)
        self._queue = queue
        self._ours = {"messaging.client.id": consumer, **_messaging("receive", "process", queue)}

    @classmethod
    @contextmanager
    def opened(cls, queue: str, consumer: str) -> Iterator[Self]:
        """Send spans where the OTEL_* variables say; at the end, what is left.

        Raises:
            ConfigurationError: there is no such exporter, or it does not take its variables.
        """
        _hush()
        processor = BatchSpanProcessor(Told(exporter(os.environ))) if exports(os.environ) else SpanProcessor()
        try:
            yield cls(processor, queue, consumer)
        finally:
            flush = threading.Thread(target=processor.shutdown, daemon=True)
            flush.start()
            flush.join(FLUSH_S)

    @contextmanager
    def receiving(self, request: Request, size: int) -> Iterator[Spans]:
        """Trace the block, for a body of `size` bytes; all spans have ended after it, whatever happened."""
        job: Attributes = {"classifier.job.id": request.id, "classifier.job.attempt": request.attempt}
        whole = self._tracer.start_span(
            f"receive {self._queue}",
            _parent(request.traceparent),
            SpanKind.CONSUMER,
            {
                **self._ours,
                "messaging.message.id": request.id,
                "messaging.message.conversation_id": request.correlation_id,
                "messaging.message.body.size": size,
                **job,
            },
        )
        spans = Spans(self._tracer, whole, self._queue, job)
        with trace.use_span(whole, end_on_exit=True):
            try:
                yield spans
            finally:
                spans.end()


def exports(environment: Mapping[str, str]) -> bool:
    """Whether spans go anywhere. Where not, each job still has its traceparent."""
    return environment.get(EXPORTER_VARIABLE) != "none"


def exporter(environment: Mapping[str, str]) -> SpanExporter:
    """Make the exporter: OTLP over HTTP, unless another one that is installed is named.

    Raises:
        ConfigurationError: there is none of that name, or it does not take its variables.
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


def _resource(consumer: str) -> Resource:
    """Say who we are; what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes first."""
    ours = {"service.name": PRODUCT, "service.version": VERSION, "service.instance.id": consumer}
    return Resource.create(ours).merge(OTELResourceDetector().detect())


def _messaging(name: str, kind: str, destination: str) -> dict[str, str | int]:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.destination.name": destination,
    }


def _addressed(queue: str) -> tuple[str, Attributes]:
    """Name a reply's span. A queue of the caller's own is another for each caller, and no name for a span."""
    attributes = _messaging("reply", "send", queue)
    if queue.startswith(CALLERS_OWN_PREFIXES):
        return "reply (temporary)", {**attributes, "messaging.destination.temporary": True}
    return f"reply {queue}", attributes


def _conclude(span: Span, outcome: Outcome) -> None:
    span.set_attribute("classifier.outcome", type(outcome).__name__)
    if isinstance(outcome, Unsuccessful):
        _fail(span, outcome.code, outcome.message)


def _fail(span: Span, kind: str, message: str) -> None:
    span.set_attribute("error.type", str(kind))
    span.set_status(StatusCode.ERROR, escaped(message, MESSAGE_CHARACTERS))


def _parent(traceparent: str | None) -> Context:
    return _PROPAGATOR.extract({TRACEPARENT_HEADER: traceparent} if traceparent else {}, Context())


def _traceparent(span: Span) -> str | None:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
    return carrier.get(TRACEPARENT_HEADER)
