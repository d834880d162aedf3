"""A traced service with a real RabbitMQ and a real receiver of spans, and one whose collector is away."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_collector import Collector, attributes
from support.processes.consumer_process import consumer
from support.processes.shell_classifiers import script
from support.rabbitmq.producer import Producer

from consumer.local_broker.files import free_ports

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


def test_a_jobs_four_spans_arrive_by_the_end_with_their_parents(
    vhost_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = script(tmp_path, 'echo "OUTPUT: \\"$TRACEPARENT\\""')
    with Collector.opened() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "pumps")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")  # only the drain sends them in time
        with (
            consumer(vhost_url, command=command, tracing="true") as running,
            Producer(vhost_url) as producer,
        ):
            answers = producer.reply_queue()
            producer.publish("classifier.jobs", b"{}", message_id="m1", reply_to=answers, headers=HEADERS)
            reply = producer.take(answers)
            assert running.stop() == 0
    spans = {span.name.partition(" ")[0]: span for span in collector.spans}
    assert len(collector.spans) == 4
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    whole, run = spans["receive"], spans["run"]
    assert whole.parent_span_id.hex() == PARENT
    assert whole.kind == Span.SPAN_KIND_CONSUMER
    assert {name: spans[name].parent_span_id for name in ("wait", "run", "reply")} == dict.fromkeys(
        ("wait", "run", "reply"), whole.span_id
    )
    own = f"00-{TRACE}-{run.span_id.hex()}-01"
    assert reply.json["output"] == own
    assert reply.properties.headers["traceparent"] == own
    told = attributes(whole)
    assert (told["messaging.destination.name"], told["messaging.message.id"]) == ("classifier.jobs", "m1")
    assert collector.resource["service.name"] == "pumps"


def test_a_collector_that_is_away_costs_no_job_and_no_exit(
    vhost_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    command = script(tmp_path, "echo 'OUTPUT: 1'")
    with consumer(vhost_url, command=command, tracing="true") as running, Producer(vhost_url) as producer:
        answers = producer.reply_queue()
        for number in range(20):
            producer.publish("classifier.jobs", b"{}", message_id=str(number), reply_to=answers)
        assert [producer.take(answers).json["status"] for _ in range(20)] == ["succeeded"] * 20
        assert running.stop() == 0
    assert len(running.events("spans_lost")) == 1, running.log
    assert not running.events("spans_taken")
