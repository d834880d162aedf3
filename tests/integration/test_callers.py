"""Callers that wait for their reply, and callers that have gone before their job's turn came, with the setting."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.processes.consumer_process import ConsumerProcess, consumer
from support.processes.shell_classifiers import script
from support.rabbitmq.management_api import Management
from support.rabbitmq.producer import Producer

from consumer.local_broker.node import Node, api

JOBS, RESULTS, DEAD = "classifier.jobs", "classifier.results", "classifier.dead"
DIRECT = "amq.rabbitmq.reply-to"
#: A line for each run; then waits for the test's go.
HELD = (
    'cat "$1" >>"${0%/*}/runs"; echo >>"${0%/*}/runs"',
    'echo "LOG: begun"; while [ ! -e "${0%/*}/go" ]; do sleep 0.02; done',
    "echo 'OUTPUT: 1'",
)


def direct(caller: Producer) -> str:
    """Listen as a caller does who has no queue."""
    caller.channel.basic_consume(DIRECT, lambda *_: caller.channel.stop_consuming(), auto_ack=True)
    return DIRECT


def version(node: Node) -> tuple[int, int]:
    """Ask a node which RabbitMQ it is, where versions differ in what they do: major and minor."""
    major, minor, *_ = str(api(node, "GET", "overview")["rabbitmq_version"]).split(".")
    return int(major), int(minor)


KINDS = pytest.mark.parametrize("address", [direct, Producer.reply_queue], ids=["direct reply-to", "server-named"])


@pytest.fixture
def busy(vhost_url: str, tmp_path: Path, producer: Producer) -> Iterator[ConsumerProcess]:
    """A consumer whose one slot is taken: what is published now waits in the queue."""
    with consumer(vhost_url, command=script(tmp_path, *HELD), pool_size=1, drop_if_caller_gone="true") as running:
        producer.publish(JOBS, b'{"n": 1}', message_id="m1")
        running.wait_for_event("job_log", "begun")
        yield running


@KINDS
def test_a_job_whose_caller_has_gone_does_not_run(
    busy: ConsumerProcess, vhost_url: str, tmp_path: Path, producer: Producer, address: Callable[[Producer], str]
) -> None:
    with Producer(vhost_url) as caller:
        caller.publish(JOBS, b'{"n": 2}', message_id="m2", reply_to=address(caller))
    (tmp_path / "go").touch()
    busy.wait_for_event("job_abandoned", job_id="m2")
    busy.wait_for_event("job_settled", job_id="m2", outcome="Abandoned", settlement="ack")
    assert busy.stop() == os.EX_OK
    assert (tmp_path / "runs").read_text().splitlines() == ['{"n": 1}']
    assert producer.take(RESULTS).json["job_id"] == "m1"
    assert (producer.depth(JOBS), producer.depth(RESULTS)) == (0, 0)
    assert not busy.events("connection_lost")


@KINDS
def test_a_job_whose_caller_waits_is_answered(
    busy: ConsumerProcess, vhost_url: str, tmp_path: Path, address: Callable[[Producer], str]
) -> None:
    """A server-named queue is exclusive to its caller: to be refused there is to be told that it is there."""
    with Producer(vhost_url) as caller:
        name = address(caller)
        caller.publish(JOBS, b'{"n": 2}', message_id="m2", reply_to=name)
        (tmp_path / "go").touch()
        busy.wait_for_event("job_settled", job_id="m2", outcome="Succeeded", settlement="ack")
        if name == DIRECT:
            caller.channel.start_consuming()  # up to the reply
        else:
            assert caller.take(name).json["job_id"] == "m2"
    assert busy.stop() == os.EX_OK
    assert not busy.events("connection_lost")


#: Erlang's pid of a process on a node that is not there, as RabbitMQ writes it into an address.
AWAY = base64.b64encode(b"\x83Xw\x09reply@123" + bytes(12)).decode()


@pytest.mark.parametrize("asks", ["true", "false"])
@pytest.mark.parametrize(
    ("name", "lost"),
    [("amq.gen-\xe9 = \n?", 0), (DIRECT + ".x", 0), (DIRECT + ".no.such=", 2), (f"{DIRECT}.{AWAY}.key", 2)],
    ids=["server-named", "direct", "direct, not made by RabbitMQ", "direct, of a node that is away"],
)
def test_an_address_that_cannot_be_reached_is_that_of_a_caller_who_has_gone(
    management: Management, producer: Producer, name: str, lost: int, asks: str
) -> None:
    """RabbitMQ fails over some, and closes the connection: twice, and then that is known.

    Over one that is not even well-formed only 4.3 fails, and only when it is asked whether it is there.
    """
    if name == DIRECT + ".x" and asks == "true" and version(management.node) >= (4, 3):
        lost = 2
    command = '["sh", "-c", "echo OUTPUT: 1"]'
    vhost_url = management.node.vhost_url(management.vhost)
    with consumer(vhost_url, command=command, drop_if_caller_gone=asks) as running:
        producer.publish(JOBS, b"{}", message_id="m1", reply_to=name)
        running.wait_for_event("job_settled", settlement="ack")
        producer.publish(JOBS, b"{}", message_id="m2", reply_to=name)
        running.wait_for_event("job_settled", settlement="ack")
        assert running.stop() == os.EX_OK
    assert (producer.depth(JOBS), producer.depth(DEAD)) == (0, 0)
    assert len(running.events("reconnected")) <= lost
