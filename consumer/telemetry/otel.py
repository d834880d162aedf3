"""Records each delivery as OpenTelemetry spans: `receive`, which contains `wait`, `run` and `reply`.

`receive` is a child of the span in the message's `traceparent`. The classifier and the reply get the traceparent
of the `run` span, so that the producer and everything that the classifier calls are in one trace. Attributes
follow OpenTelemetry's conventions for messaging (1.30); those without a convention begin with `classifier.`. Only
this module and otel_export.py know OpenTelemetry.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from consumer._version import PRODUCT, VERSION
from consumer.disposition import Disposition, Settlement
from consumer.escaping import escaped
from consumer.job import ErrorCode, Job, Outcome, Request, Unsuccessful
from consumer.telemetry.otel_export import FLUSH_S, span_processor
from consumer.telemetry.tracing import Trace, Tracer
from consumer.wire.message import TRACEPARENT_HEADER
from consumer.wire.reply_address import CALLERS_OWN_PREFIXES

#: The longest error message in a span; the error record has the whole message.
MESSAGE_CHARACTERS = 1000

Attributes = Mapping[str, str | int]
_PROPAGATOR = TraceContextTextMapPropagator()


class Spans(Trace):
    """Records the spans of one delivery.

    Mutable state: `_step`, the span of the current step; `_own`, the traceparent for the reply: that of the `run`
    span, or of the `receive` span if the job has not run.
    """

    def __init__(self, tracer: trace.Tracer, whole: Span, queue: str, job: Attributes) -> None:
        self._tracer = tracer
        self._whole = whole
        self._queue = queue
        self._job = job
        self._step: Span | None = None
        self.traceparent = self._own = _traceparent(whole)

    def waits(self) -> None:
        """Begin the span of the wait for a slot."""
        self._begin("wait", SpanKind.INTERNAL, {})

    def runs(self, job: Job, slot: int) -> Job:
        """Begin the span of the run; return the job with its traceparent."""
        known: Attributes = {"classifier.slot": slot, **({"classifier.job.model": job.model} if job.model else {})}
        self._whole.set_attributes(known)
        self._own = _traceparent(self._begin("run", SpanKind.INTERNAL, known))
        return replace(job, request=replace(job.request, traceparent=self._own))

    def answers(self, request: Request, outcome: Outcome, decided: Disposition) -> Request:
        """End the current span with the outcome; begin that of the reply, or of settling without one."""
        if self._step:
            _conclude(self._step, outcome)
        if decided.replies and request.reply_to:
            name, answering = _addressed(request.reply_to)
            self._begin(name, SpanKind.PRODUCER, answering)
        else:
            self._begin(f"settle {self._queue}", SpanKind.CLIENT, _messaging("settle", "settle", self._queue))
        return replace(request, traceparent=self._own)

    def settled(self, outcome: Outcome, settlement: Settlement) -> None:
        """Record the outcome and the settlement of the delivery."""
        spans = [span for span in (self._whole, self._step) if span]
        for span in spans:
            span.set_attribute("classifier.settlement", settlement.value)
        _conclude(self._whole, outcome)
        if settlement is Settlement.DEAD_LETTER and not isinstance(outcome, Unsuccessful):
            for span in spans:
                _fail(span, ErrorCode.UNROUTABLE_REPLY, ErrorCode.UNROUTABLE_REPLY.meaning)

    def lost(self, error: Exception) -> None:
        """Record that the delivery could not be settled."""
        for span in (self._whole, self._step):
            if span:
                _fail(span, "connection_lost", str(error))

    def end(self) -> None:
        """End the current span."""
        if self._step:
            self._step.end()

    def _begin(self, name: str, kind: SpanKind, attributes: Attributes) -> Span:
        self.end()
        # A child of `receive`, which is OpenTelemetry's current span in the block of `receiving`.
        step = self._tracer.start_span(name, kind=kind, attributes={**self._job, **attributes})
        self._step = step
        return step


class OpenTelemetry(Tracer):
    """Begins a trace for each delivery. `queue`: the jobs queue; `consumer`: the name of this process."""

    def __init__(self, processor: SpanProcessor, queue: str, consumer: str) -> None:
        provider = TracerProvider(resource=_resource(consumer), shutdown_on_exit=False)
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer(PRODUCT, VERSION)
        self._queue = queue
        self._ours = {"messaging.client.id": consumer, **_messaging("receive", "process", queue)}

    @classmethod
    @contextmanager
    def opened(cls, queue: str, consumer: str, *, flush_s: float = FLUSH_S) -> Iterator[Self]:
        """Send spans to the collector in the OTEL_* variables; at the end, send the rest within `flush_s` seconds.

        Raises:
            ConfigurationError: the exporter is not installed, or it refuses its variables.
        """
        with span_processor(os.environ, flush_s) as processor:
            yield cls(processor, queue, consumer)

    @contextmanager
    def receiving(self, request: Request, size: int) -> Iterator[Spans]:
        """Trace the block, for a body of `size` bytes; all spans end with it, even after an exception."""
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


def _resource(consumer: str) -> Resource:
    """Name this service, unless OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES do."""
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
    """Name a reply's span. A queue of the caller's own is left out, because its name differs for each caller."""
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
