"""Messages that a client library cannot decode, from a socket of our own: dead-lettered, and the next one runs."""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from support.processes.consumer_process import ConsumerProcess, consumer
from support.processes.shell_classifiers import script
from support.rabbitmq.producer import Producer
from support.rabbitmq.raw_producer import publish, short, table
from support.waiting import PATIENCE_S

from consumer.dead_letters.error_records import read_error_records
from consumer.wire.topology import Topology

TOPOLOGY = Topology("classifier", 2)
TEXT = struct.pack(">I", 1) + b"x"
LATIN_1 = short("Björn".encode("latin-1"))


def nested(levels: int) -> bytes:
    """A table of arrays within arrays: decoded by pamqp up to about 490 levels, encoded up to about 330."""
    value = b"A" + struct.pack(">I", 0)
    for _ in range(levels):
        value = b"A" + struct.pack(">I", len(value)) + value
    return table(b"deep", value[:1], value[1:])


@pytest.fixture
def running(vhost_url: str, tmp_path: Path) -> Iterator[ConsumerProcess]:
    command = script(
        tmp_path, 'case "$(cat "$1")" in', "*crash*) kill -SEGV $$ ;;", "*) echo 'OUTPUT: 1' ;;", "esac"
    )
    with consumer(vhost_url, command=command, max_attempts=2) as process:
        yield process


def dead(producer: Producer) -> int:
    """Count the dead letters once there is one: RabbitMQ moves it a moment after the nack, and tells nobody."""
    give_up = time.monotonic() + PATIENCE_S
    while not (count := producer.depth(TOPOLOGY.dead)) and time.monotonic() < give_up:
        time.sleep(0.02)
    return count


def goes_on(running: ConsumerProcess, producer: Producer) -> None:
    """The next job is answered, by the same connection."""
    producer.publish(TOPOLOGY.jobs, b"{}", message_id="next")
    assert producer.take(TOPOLOGY.results).json["job_id"] == "next"
    assert running.stop() == os.EX_OK
    assert not running.events("connection_lost")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timestamp", struct.pack(">Q", 1_700_000_000_000_000)),
        ("timestamp", struct.pack(">q", -1)),
        ("headers", table(b"\xff", b"S", TEXT)),
        ("headers", table(b"sent", b"T", struct.pack(">Q", 1_700_000_000_000_000))),
        ("headers", table(b"deep", b"F", table(b"\xff", b"S", TEXT))),
        ("headers", nested(400)),
        ("message_id", LATIN_1),
    ],
    ids=["microseconds", "before 1970", "header name", "header time", "nested name", "nested deeply", "id"],
)
def test_a_property_that_cannot_be_decoded_is_answered_and_dead_lettered(
    running: ConsumerProcess, producer: Producer, vhost_url: str, name: str, value: bytes
) -> None:
    properties = {"correlation_id": short(b"c1"), name: value}
    publish(vhost_url, TOPOLOGY.jobs, b"{}", properties)
    reply = producer.take(TOPOLOGY.results)
    assert reply.properties.correlation_id == "c1"
    assert reply.json["error"]["code"] == "invalid_job"
    assert f"property {name} cannot be decoded" in reply.json["error"]["message"]
    assert dead(producer) == 1
    goes_on(running, producer)


@pytest.mark.parametrize("name", ["reply_to", "correlation_id", "message_id"])
def test_whose_address_is_damaged_gets_no_reply_but_leaves_a_record(
    running: ConsumerProcess, producer: Producer, vhost_url: str, name: str
) -> None:
    publish(vhost_url, TOPOLOGY.jobs, b"{}", {name: LATIN_1})
    running.wait_for_event("job_settled", outcome="Invalid", settlement="dead-letter")
    assert dead(producer) == 1
    assert producer.depth(TOPOLOGY.results) == 0
    [record] = asyncio.run(read_error_records(vhost_url, TOPOLOGY))
    assert f"property {name} cannot be decoded" in record.message
    goes_on(running, producer)


def test_a_header_of_an_unknown_type_is_no_crash_loop(
    running: ConsumerProcess, producer: Producer, vhost_url: str
) -> None:
    """RabbitMQ 3.10 refuses it at the producer's; wherever one does not, the table is undecodable for us."""
    try:
        publish(vhost_url, TOPOLOGY.jobs, b"{}", {"headers": table(b"k", b"z", b"")})
    except ConnectionError:
        pass
    else:
        assert dead(producer) == 1
    goes_on(running, producer)


@pytest.mark.parametrize("body", [b"\x00\xff\xfe", bytes(range(256)) * 1000])
def test_a_body_of_any_bytes_is_dead_lettered(running: ConsumerProcess, producer: Producer, body: bytes) -> None:
    producer.publish(TOPOLOGY.jobs, body, message_id="m1")
    assert producer.take(TOPOLOGY.results).json["error"]["code"] == "invalid_job"
    assert producer.take(TOPOLOGY.dead).body == body
    goes_on(running, producer)


def test_a_retry_copy_keeps_what_the_producer_sent(
    running: ConsumerProcess, producer: Producer, vhost_url: str
) -> None:
    """All but RabbitMQ's own: `x-` headers, the expiration that was for the first wait, and the login."""
    login = vhost_url.partition("//")[2].partition(":")[0]
    reply_to = producer.reply_queue()
    when = datetime(2024, 2, 29, 12, tzinfo=UTC)
    headers = {"text": "é", "bytes": b"\xff", "yes": True, "none": None, "big": 2**40, "small": -5}
    nested = {"list": [1, "a", {"b": 2}], "table": {"when": when}, "decimal": Decimal("1.5"), "x-mine": 1}
    producer.publish(
        TOPOLOGY.jobs,
        b'{"crash": 1}',
        message_id="m1",
        correlation_id="c1",
        reply_to=reply_to,
        type="a type",
        app_id="an app",
        priority=3,
        timestamp=1_700_000_000,
        content_type="application/json",
        content_encoding="utf-8",
        expiration="600000",
        user_id=login,
        headers={**headers, **nested},
    )
    assert producer.take(reply_to).json["attempt"] == 2
    kept = producer.take(TOPOLOGY.dead).properties
    for name, value in {**headers, **nested}.items():
        assert (name, kept.headers.get(name)) == (name, None if name == "x-mine" else value)
    assert (kept.message_id, kept.correlation_id, kept.reply_to, kept.type) == ("m1", "c1", reply_to, "a type")
    assert (kept.app_id, kept.priority, kept.timestamp) == ("an app", 3, 1_700_000_000)
    assert (kept.content_type, kept.content_encoding) == ("application/json", "utf-8")
    assert (kept.expiration, kept.user_id, kept.delivery_mode) == (None, None, 2)
    assert "x-mine" not in kept.headers
    assert running.stop() == os.EX_OK
