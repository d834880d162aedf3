"""What OpenTelemetry is told about each job: which spans, whose children, with which attributes.

The library's own exporter in memory takes the place of a collector; `test_traces.py` has one over HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from support.async_tests import runs_async
from support.fakes.deliveries import FakeDelivery, FakePublisher
from support.fakes.log_listener import jobs_told
from support.fakes.slots import FakeSlot, HeldSlot
from support.waiting import PATIENCE_S

from consumer.config.loader import load
from consumer.errors import ConfigurationError, ConnectionLostError
from consumer.job import Crashed, Failed, Outcome, Succeeded
from consumer.local_broker.files import free_ports
from consumer.runners.environment import job_environment
from consumer.runners.pool import Pool
from consumer.service.fetching import Fetching
from consumer.service.outcome_cache import OutcomeCache
from consumer.service.pipeline import Pipeline
from consumer.service.settle import Settler
from consumer.telemetry.job_lines import JobLines
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.otel import OpenTelemetry
from consumer.telemetry.otel_export import FLUSH_S, ReportingExporter, exporter
from consumer.telemetry.tracer_setup import tracing
from consumer.telemetry.tracing import UNTRACED
from consumer.wire.message import Message
from consumer.wire.topology import Topology

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
SUCCEEDED = Succeeded(output=b"{}", run_s=0.5)
RECEIVE = "receive ours.jobs"
TAKEN, LOST = SpanExportResult


class FakeExporter(SpanExporter):
    """Answers each export with the next of its results."""

    def __init__(self, results: list[SpanExportResult]) -> None:
        self.results = results

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 - the library's signature
        return self.results.pop(0)


class Bench:
    """A pipeline that is traced, with a fake on every other side."""

    def __init__(
        self,
        outcome: Outcome | Exception = SUCCEEDED,
        faults: dict[str, str | Exception] | None = None,
        slot: FakeSlot | HeldSlot | None = None,
    ) -> None:
        self.memory = InMemorySpanExporter()
        self.slot = slot or FakeSlot(outcome)
        self.publisher = FakePublisher(faults=faults or {})
        pool = Pool([self.slot], Metrics())
        self.pipeline = Pipeline(
            settings=load({}, {}),
            topology=Topology("ours", 3),
            pool=pool,
            fetching=Fetching("ours.jobs", pool, Metrics(), look_ahead=False),
            metrics=Metrics(),
            lines=JobLines("all", "host:1"),
            settler=Settler(topology=Topology("ours", 3), metrics=Metrics(), consumer="host:1"),
            outcomes=OutcomeCache(capacity=10),
            tracer=OpenTelemetry(SimpleSpanProcessor(self.memory), "ours.jobs", "host:1"),
        )

    async def handle(self, body: bytes = b"{}", *, redelivered: bool = False, **properties: Any) -> None:  # noqa: ANN401 - a message's own
        headers = {"traceparent": TRACEPARENT, **properties.pop("headers", {})}
        message = Message(body=body, headers=headers, **{"message_id": "m", "reply_to": "answers", **properties})
        await self.pipeline.handle(FakeDelivery(message, self.publisher, redelivered))

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """All that have ended, by name; none twice."""
        ended = self.memory.get_finished_spans()
        assert len({span.name for span in ended}) == len(ended)
        return {span.name: span for span in ended}


def traceparent(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}"


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@runs_async
async def test_a_job_has_four_spans_one_around_the_others() -> None:
    bench = Bench()
    await bench.handle()
    spans = bench.spans
    assert list(spans) == ["wait", "run", "reply answers", RECEIVE]
    whole = spans[RECEIVE]
    assert whole.parent is not None
    assert (f"{whole.parent.trace_id:032x}", f"{whole.parent.span_id:016x}") == (TRACE, PARENT)
    for name in ("wait", "run", "reply answers"):
        assert spans[name].parent == whole.context
    assert [span.kind for span in spans.values()] == [
        SpanKind.INTERNAL,
        SpanKind.INTERNAL,
        SpanKind.PRODUCER,
        SpanKind.CONSUMER,
    ]
    assert {span.status.status_code for span in spans.values()} == {StatusCode.UNSET}


@runs_async
async def test_the_steps_follow_each_other_inside_the_whole() -> None:
    bench = Bench()
    await bench.handle()
    *steps, whole = bench.spans.values()
    times = [time_ns for span in steps for time_ns in (span.start_time, span.end_time)]
    assert [whole.start_time, *times, whole.end_time] == sorted(
        time_ns for time_ns in (whole.start_time, *times, whole.end_time) if time_ns
    )


@runs_async
async def test_the_whole_has_the_attributes_of_the_conventions_and_the_jobs_own() -> None:
    bench = Bench()
    await bench.handle(b'{"model": "pumps"}', correlation_id="c", headers={"attempt": 2})
    assert attributes(bench.spans[RECEIVE]) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "receive",
        "messaging.operation.type": "process",
        "messaging.destination.name": "ours.jobs",
        "messaging.client.id": "host:1",
        "messaging.message.id": "m",
        "messaging.message.conversation_id": "c",
        "messaging.message.body.size": 18,
        "classifier.job.id": "m",
        "classifier.job.attempt": 2,
        "classifier.job.model": "pumps",
        "classifier.slot": 0,
        "classifier.outcome": "Succeeded",
        "classifier.settlement": "ack",
    }


@runs_async
async def test_a_run_names_job_attempt_slot_model_and_outcome() -> None:
    bench = Bench()
    await bench.handle(b'{"model": "pumps"}')
    assert attributes(bench.spans["run"]) == {
        "classifier.job.id": "m",
        "classifier.job.attempt": 1,
        "classifier.job.model": "pumps",
        "classifier.slot": 0,
        "classifier.outcome": "Succeeded",
    }


@runs_async
async def test_the_classifier_and_the_reply_get_the_runs_own_traceparent() -> None:
    bench = Bench()
    await bench.handle()
    run = traceparent(bench.spans["run"])
    (job,), (reply,) = bench.slot.jobs, bench.publisher.taken["answers"]
    assert run.startswith(f"00-{TRACE}-")
    assert reply.headers["traceparent"] == run
    assert job_environment(job, Path("/job"))["TRACEPARENT"] == run


@pytest.mark.parametrize("given", [None, "garbage", f"00-{'0' * 32}-{PARENT}-01"])
@runs_async
async def test_without_a_parent_a_trace_begins_here(given: str | None) -> None:
    bench = Bench()
    await bench.handle(headers={"traceparent": given})
    whole = bench.spans[RECEIVE]
    assert whole.parent is None
    (reply,) = bench.publisher.taken["answers"]
    assert reply.headers["traceparent"] == traceparent(bench.spans["run"])


@runs_async
async def test_what_the_caller_does_not_sample_is_not_sent_and_still_has_its_parent() -> None:
    bench = Bench()
    await bench.handle(headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert bench.spans == {}
    (reply,) = bench.publisher.taken["answers"]
    assert reply.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert reply.headers["traceparent"].endswith("-00")


@runs_async
async def test_a_job_that_failed_is_an_error_with_its_code() -> None:
    bench = Bench(Failed(message="no such \x1b[31mmodel"))
    await bench.handle()
    spans = bench.spans
    for name in ("run", RECEIVE):
        assert attributes(spans[name])["error.type"] == "classifier_error"
        assert attributes(spans[name])["classifier.outcome"] == "Failed"
        assert spans[name].status.status_code == StatusCode.ERROR
        assert spans[name].status.description == "no such \\x1b[31mmodel"
    assert attributes(spans[RECEIVE])["classifier.settlement"] == "dead-letter"
    assert spans["reply answers"].status.status_code == StatusCode.UNSET
    (record,) = bench.publisher.taken["ours.errors"]
    assert record.headers["traceparent"] == traceparent(spans["run"])


@runs_async
async def test_what_is_no_job_neither_waits_nor_runs() -> None:
    bench = Bench()
    await bench.handle(b"-")
    assert list(bench.spans) == ["reply answers", RECEIVE]
    assert attributes(bench.spans[RECEIVE])["error.type"] == "invalid_job"
    (reply,) = bench.publisher.taken["answers"]
    assert reply.headers["traceparent"] == traceparent(bench.spans[RECEIVE])


@runs_async
async def test_what_is_tried_again_is_settled_and_keeps_its_producers_traceparent() -> None:
    bench = Bench(Crashed(message="killed by SIGSEGV"))
    await bench.handle()
    assert list(bench.spans) == ["wait", "run", "settle ours.jobs", RECEIVE]
    assert attributes(bench.spans["settle ours.jobs"])["classifier.settlement"] == "retry"
    (copy,) = bench.publisher.taken["ours.retry.1s"]
    assert copy.headers["traceparent"] == TRACEPARENT


@runs_async
async def test_a_reply_to_a_callers_own_queue_has_no_name_of_its_own() -> None:
    bench = Bench()
    await bench.handle(reply_to="amq.gen-1")
    reply = attributes(bench.spans["reply (temporary)"])
    assert (reply["messaging.destination.name"], reply["messaging.destination.temporary"]) == ("amq.gen-1", True)


@runs_async
async def test_a_reply_that_nobody_takes_is_the_error_and_not_the_run() -> None:
    bench = Bench(faults={"answers": "there is no queue"})
    await bench.handle()
    codes = {name: attributes(span).get("error.type") for name, span in bench.spans.items()}
    assert codes == {
        "wait": None,
        "run": None,
        "reply answers": "unroutable_reply",
        RECEIVE: "unroutable_reply",
    }


@runs_async
async def test_a_connection_that_is_lost_ends_all_spans() -> None:
    bench = Bench(faults={"answers": ConnectionLostError("gone")})
    await bench.handle()
    assert list(bench.spans) == ["wait", "run", "reply answers", RECEIVE]
    for name in ("reply answers", RECEIVE):
        assert attributes(bench.spans[name])["error.type"] == "connection_lost"
    assert "classifier.settlement" not in attributes(bench.spans[RECEIVE])


@runs_async
async def test_a_remembered_outcome_is_answered_without_a_run() -> None:
    bench = Bench(faults={"answers": ConnectionLostError("gone")})
    await bench.handle()
    bench.memory.clear()
    bench.publisher.faults.clear()
    await bench.handle(redelivered=True)
    assert list(bench.spans) == ["reply answers", RECEIVE]


@runs_async
async def test_a_bug_ends_all_spans_and_is_told() -> None:
    bench = Bench(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await bench.handle()
    assert list(bench.spans) == ["wait", "run", RECEIVE]
    assert bench.spans[RECEIVE].status.status_code == StatusCode.ERROR
    (event,) = bench.spans[RECEIVE].events
    assert (event.attributes or {})["exception.type"] == "ZeroDivisionError"


@runs_async
async def test_a_job_that_waits_for_a_slot_is_not_running_yet() -> None:
    slot = HeldSlot()
    bench = Bench(slot=slot)
    first = asyncio.create_task(bench.handle(message_id="m1"))
    await slot.begun.wait()
    second = asyncio.create_task(bench.handle(message_id="m2"))
    await asyncio.sleep(0)
    waited = [attributes(span)["classifier.job.id"] for span in bench.memory.get_finished_spans()]
    assert waited == ["m1"]
    slot.ending.set_result(SUCCEEDED)
    await asyncio.gather(first, second)
    assert len(bench.memory.get_finished_spans()) == 8


@runs_async
async def test_the_log_names_the_trace_that_began_here(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench()
    with jobs_told() as told:
        await asyncio.create_task(bench.handle(headers={"traceparent": None}))
    assert {fields["traceparent"] for fields in told} == {traceparent(bench.spans[RECEIVE])}


@runs_async
async def test_the_service_is_who_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "pumps")
    bench = Bench()
    await bench.handle()
    told = bench.spans["run"].resource.attributes
    assert (told["service.name"], told["service.instance.id"]) == ("pumps", "host:1")
    monkeypatch.delenv("OTEL_SERVICE_NAME")
    bench = Bench()
    await bench.handle()
    assert bench.spans["run"].resource.attributes["service.name"] == "rabbitmq-classifier"


def test_without_the_setting_nothing_is_traced_and_opentelemetry_is_not_imported() -> None:
    program = (
        "import sys; from consumer.cli import main; from consumer.telemetry import tracer_setup as spans\n"
        "with spans.tracing('q', 'c', is_on=False) as tracer: assert tracer is spans.UNTRACED\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with tracing("q", "c", is_on=False) as tracer:
        assert tracer is UNTRACED


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "consumer.telemetry.otel")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'rabbitmq-classifier\[otel\]'"):
        tracing("q", "c", is_on=True).__enter__()


def test_an_exporter_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="OTEL_TRACES_EXPORTER = 'zipkin': no such exporter is installed"):
        exporter({"OTEL_TRACES_EXPORTER": "zipkin"})


def test_that_spans_are_lost_is_said_once_and_so_is_that_they_are_taken_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    results = [TAKEN, LOST, LOST, LOST, TAKEN, TAKEN]
    exporting = ReportingExporter(FakeExporter(list(results)))
    assert [exporting.export([]) for _ in results] == results
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in caplog.messages[0]


@runs_async
async def test_a_collector_that_is_away_neither_delays_a_job_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at the port. The jobs end first, and only then anything is waited for."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    bench = Bench()
    others = set(threading.enumerate())
    with OpenTelemetry.opened("ours.jobs", "host:1", flush_s=0.1) as tracer:
        bench.pipeline = replace(bench.pipeline, tracer=tracer)
        for number in range(20):
            await bench.handle(message_id=str(number))
        assert len(bench.publisher.taken["answers"]) == 20
        began = time.monotonic()
    assert time.monotonic() - began < FLUSH_S
    # The exporter goes on trying, with random pauses: Hypothesis would find `random` used in the tests after this.
    for thread in set(threading.enumerate()) - others:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
