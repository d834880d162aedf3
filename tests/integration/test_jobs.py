"""What becomes of each kind of job on a real RabbitMQ: the reply, the dead letter and the error record."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes.consumer_process import ConsumerProcess, consumer
from support.processes.shell_classifiers import script
from support.rabbitmq.producer import Producer
from support.waiting import wait_until

from consumer.dead_letters.error_records import read_error_records
from consumer.wire.topology import Topology
from consumer.wire.write import ErrorRecord

ECHO = "printf 'OUTPUT: '; cat \"$1\"; echo"
TOPOLOGY = Topology("classifier", 3)


@pytest.fixture
def running(vhost_url: str, tmp_path: Path) -> Iterator[ConsumerProcess]:
    """Echoes a job, except one that says how to fail."""
    command = script(
        tmp_path,
        'case "$(cat "$1")" in',
        "*fail*) echo 'ERROR: as told' ;;",
        "*crash*) echo 'last words' >&2; kill -SEGV $$ ;;",
        f"*) {ECHO} ;;",
        "esac",
    )
    with consumer(vhost_url, command=command, max_attempts=2, max_body_bytes=1000) as process:
        yield process


def records(url: str) -> list[ErrorRecord]:
    return asyncio.run(read_error_records(url, TOPOLOGY))


def dead_letter(producer: Producer) -> dict[str, object]:
    """Take the one dead letter; RabbitMQ moves it a moment after the nack."""
    headers = producer.take(TOPOLOGY.dead).properties.headers
    return {"queue": headers["x-death"][0]["queue"], "reason": headers["x-death"][0]["reason"]}


REJECTED = {"queue": TOPOLOGY.jobs, "reason": "rejected"}


def test_a_good_job_is_answered_where_it_asked_with_its_correlation_id(
    running: ConsumerProcess, producer: Producer
) -> None:
    reply_to = producer.reply_queue()
    producer.publish(TOPOLOGY.jobs, b'{"n": 1}', message_id="m1", correlation_id="c1", reply_to=reply_to)
    reply = producer.take(reply_to)
    assert reply.json["output"] == {"n": 1}
    assert (reply.json["status"], reply.json["job_id"], reply.json["attempt"]) == ("succeeded", "m1", 1)
    assert reply.properties.correlation_id == "c1"
    assert reply.properties.type == "job.succeeded"
    assert reply.properties.headers["job-id"] == "m1"
    assert reply.properties.message_id != "m1"
    running.wait_for_event("job_settled", settlement="ack")
    assert producer.depth(TOPOLOGY.jobs) == 0


def test_a_job_without_reply_to_is_answered_in_the_results_queue(
    running: ConsumerProcess, producer: Producer
) -> None:
    producer.publish(TOPOLOGY.jobs, b"{}", message_id="m2")
    assert producer.take(TOPOLOGY.results).properties.correlation_id == "m2"
    running.wait_for_event("job_settled", settlement="ack")


@pytest.mark.parametrize("queue", [TOPOLOGY.results, TOPOLOGY.dead])
def test_what_was_looked_at_many_times_is_still_there(
    running: ConsumerProcess, producer: Producer, queue: str
) -> None:
    """RabbitMQ 4 deletes what came back 20 times, unless the queue says otherwise."""
    producer.publish(TOPOLOGY.jobs, b'{"fail": 1}')
    running.wait_for_event("job_settled", settlement="dead-letter")
    for _ in range(30):
        wait_until(lambda: producer.depth(queue) == 1, "the message to be there")
        method, _, _ = producer.channel.basic_get(queue)
        producer.channel.basic_nack(method.delivery_tag, requeue=True)
    wait_until(lambda: producer.depth(queue) == 1, "the message to be back")


def test_an_error_line_gives_an_error_reply_a_dead_letter_and_a_record(
    running: ConsumerProcess, producer: Producer, vhost_url: str
) -> None:
    producer.publish(TOPOLOGY.jobs, b'{"fail": 1}', message_id="m3")
    error = producer.take(TOPOLOGY.results).json["error"]
    assert 0 < error.pop("cpu_s") < 5
    assert 2**20 < error.pop("peak_memory_bytes") < 2**30
    assert error == {
        "code": "classifier_error",
        "message": "as told",
        "retryable": False,
        "stderr_tail": "",
    }
    running.wait_for_event("job_settled", settlement="dead-letter")
    assert dead_letter(producer) == REJECTED
    [record] = records(vhost_url)
    assert (record.job_id, record.code, record.message) == ("m3", "classifier_error", "as told")


def test_a_crash_is_tried_again_and_dead_lettered_with_its_last_words(
    running: ConsumerProcess, producer: Producer, vhost_url: str
) -> None:
    producer.publish(TOPOLOGY.jobs, b'{"crash": 1}', message_id="m4", headers={"mine": "kept", "x-not": "kept"})
    reply = producer.take(TOPOLOGY.results).json
    assert (reply["error"]["code"], reply["attempt"], reply["error"]["stderr_tail"]) == (
        "crashed",
        2,
        "last words",
    )
    running.wait_for_event("job_settled", settlement="dead-letter")
    headers = producer.take(TOPOLOGY.dead).properties.headers
    assert (headers["mine"], headers["job-id"], headers["attempt"]) == ("kept", "m4", 2)
    assert "x-not" not in headers
    [record] = records(vhost_url)
    assert (record.code, record.attempt) == ("crashed", 2)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"{not json", "not JSON"),
        (b"", "the body is empty"),
        (b"[1]", "not an object"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b'{"a": "' + b"x" * 1000 + b'"}', "1009 bytes, the limit is 1000"),
    ],
    ids=["not json", "empty", "array", "nan", "not utf-8", "too large"],
)
def test_a_message_that_is_no_job_is_answered_and_dead_lettered_without_a_run(
    running: ConsumerProcess, producer: Producer, body: bytes, complaint: str
) -> None:
    producer.publish(TOPOLOGY.jobs, body, message_id="m5")
    reply = producer.take(TOPOLOGY.results).json
    assert reply["error"]["code"] == "invalid_job"
    assert complaint in reply["error"]["message"]
    running.wait_for_event("job_settled", outcome="Invalid", settlement="dead-letter")
    assert dead_letter(producer) == REJECTED


def test_a_reply_to_one_of_our_own_queues_is_refused(
    running: ConsumerProcess, producer: Producer, vhost_url: str
) -> None:
    producer.publish(TOPOLOGY.jobs, b"{}", reply_to=TOPOLOGY.jobs)
    running.wait_for_event("job_settled", outcome="Invalid", settlement="dead-letter")
    assert dead_letter(producer) == REJECTED
    assert producer.depth(TOPOLOGY.results) == 0
    assert [record.code for record in records(vhost_url)] == ["invalid_job"]


def test_a_result_for_a_queue_that_does_not_exist_is_kept_as_a_dead_letter(
    running: ConsumerProcess, producer: Producer, vhost_url: str
) -> None:
    producer.publish(TOPOLOGY.jobs, b"{}", message_id="m6", reply_to="no.such.queue")
    running.wait_for_event("job_settled", settlement="dead-letter")
    assert dead_letter(producer) == REJECTED
    [record] = records(vhost_url)
    assert (record.code, record.message) == ("unroutable_reply", "there is no queue 'no.such.queue'")


def test_a_result_for_a_caller_that_has_gone_is_dropped_and_the_job_done(
    running: ConsumerProcess, producer: Producer, vhost_url: str
) -> None:
    with Producer(vhost_url) as caller:
        gone = caller.reply_queue()
    producer.publish(TOPOLOGY.jobs, b"{}", reply_to=gone)
    running.wait_for_event("job_settled", settlement="ack")
    assert (producer.depth(TOPOLOGY.jobs), producer.depth(TOPOLOGY.dead)) == (0, 0)


def test_direct_reply_to_works(running: ConsumerProcess, producer: Producer) -> None:
    name = "amq.rabbitmq.reply-to"
    replies: list[bytes] = []

    def take(_channel: object, _method: object, _properties: object, body: bytes) -> None:
        replies.append(body)
        producer.channel.stop_consuming()

    producer.channel.basic_consume(name, take, auto_ack=True)
    producer.publish(TOPOLOGY.jobs, b'{"n": 7}', reply_to=name)
    producer.channel.start_consuming()
    assert json.loads(replies[0])["output"] == {"n": 7}
    running.wait_for_event("job_settled", settlement="ack")


def test_a_job_may_shorten_its_run_time(vhost_url: str, tmp_path: Path, producer: Producer) -> None:
    command = script(tmp_path, "sleep 600")
    with consumer(vhost_url, command=command, max_attempts=1):
        producer.publish(TOPOLOGY.jobs, b"{}", headers={"timeout-s": "0.2"})
        error = producer.take(TOPOLOGY.results).json["error"]
    assert error["code"] == "timed_out"
    assert "0.2 s" in error["message"]


def test_statsd_gets_the_jobs_story(vhost_url: str, tmp_path: Path, producer: Producer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(60)
        command = script(tmp_path, ECHO)
        port = statsd.getsockname()[1]
        with consumer(vhost_url, command=command, statsd_host="127.0.0.1", statsd_port=port):
            producer.publish(TOPOLOGY.jobs, b"{}")
            text = ""
            while "jobs.total" not in text:
                text += statsd.recv(4096).decode() + "\n"
    for name in ("jobs.received:1|c", "jobs.succeeded:1|c", "slots.busy:1|g", "slots.busy:0|g", "jobs.run:"):
        assert name in text
    assert text.startswith("classifier.")
