"""The users of deploy/rabbitmq/definitions.json: all that each needs works, and nothing else does."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pika.exceptions
import pytest
from many_dead_letters import dead_letters, listed
from support.processes import forked
from support.processes.commands import environment
from support.processes.consumer_process import ConsumerProcess, consumer
from support.processes.gateway_process import gateway
from support.processes.shell_classifiers import script
from support.rabbitmq.definitions import DEFINITIONS, USERS, VHOST
from support.rabbitmq.management_api import create_vhost, delete_vhost
from support.rabbitmq.producer import Producer
from support.waiting import wait_until

from consumer.dead_letters.error_records import read_error_records
from consumer.local_broker.node import Node
from consumer.rabbitmq.management import api
from consumer.wire.topology import Topology

TOPOLOGY = Topology("classifier", 2)
PASSWORD = "set by the operator"  # noqa: S105 - a private node's
Channel = Any


@pytest.fixture(scope="module")
def imported(node: Node) -> Iterator[Node]:
    """The node with the definitions, and passwords set as docs/rabbitmq.md says."""
    api(node, "POST", "definitions", DEFINITIONS)
    try:
        for entry in DEFINITIONS["users"]:
            api(node, "PUT", f"users/{entry['name']}", {"password": PASSWORD, "tags": ",".join(entry["tags"])})
        create_vhost(node, VHOST)  # and the test's own login may look around in it
        yield node
    finally:
        delete_vhost(node, VHOST)
        for user in USERS:
            api(node, "DELETE", f"users/{user}")


def url(node: Node, user: str, vhost: str = VHOST) -> str:
    return f"amqp://{user}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{node.amqp_port}/{vhost}"


@pytest.fixture
def running(imported: Node, tmp_path: Path) -> Iterator[ConsumerProcess]:
    """A consumer without the right to configure; a job says how to fail."""
    command = script(
        tmp_path,
        'case "$(cat "$1")" in *error*) echo ERROR: no ;; *crash*) exit 1 ;; *) echo OUTPUT: 1 ;; esac',
    )
    with consumer(url(imported, "consumer"), declare="false", max_attempts=2, command=command) as process:
        yield process


def submit(node: Node, *arguments: str) -> list[dict[str, Any]]:
    """Submit jobs of every ending as the producer."""
    jobs = '{"good": 1}\n{"error": 1}\n{"crash": 1}\n'
    done = forked.run("consumer", "submit", "-", *arguments, env=environment(url(node, "producer")), stdin=jobs)
    assert done.returncode == 1, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("arguments", [(), ("--direct",)], ids=["reply queue", "direct"])
def test_jobs_of_every_ending_go_round_with_the_rights_of_each(
    imported: Node, running: ConsumerProcess, arguments: tuple[str, ...]
) -> None:
    results = submit(imported, *arguments)
    assert [result.get("error", {}).get("code") for result in results] == [None, "classifier_error", "crashed"]
    assert running.stop() == os.EX_OK
    with Producer(url(imported, "operator")) as operator:
        dead = {operator.take(TOPOLOGY.dead).json.popitem()[0] for _ in range(2)}
    assert dead == {"error", "crash"}
    records = asyncio.run(read_error_records(url(imported, "operator"), TOPOLOGY))
    assert [record.code for record in records][-2:] == ["classifier_error", "crashed"]


def test_the_producer_may_fetch_results_without_a_reply_queue_of_its_own(
    imported: Node, running: ConsumerProcess
) -> None:
    with Producer(url(imported, "producer")) as producer:
        producer.publish(TOPOLOGY.jobs, b"{}", message_id="m1")
        assert producer.take(TOPOLOGY.results).json["job_id"] == "m1"
    running.stop()


def test_the_operator_may_let_a_consumer_declare_everything(imported: Node, tmp_path: Path) -> None:
    command = script(tmp_path, "echo OUTPUT: 1")
    with consumer(url(imported, "operator"), command=command, prefix="classifier.second") as running:
        assert running.stop() == os.EX_OK


def test_a_consumer_that_is_to_declare_without_the_right_says_what_to_do(imported: Node, tmp_path: Path) -> None:
    variables = environment(url(imported, "consumer"), command=script(tmp_path, "echo OUTPUT: 1"))
    refused = ConsumerProcess(variables)
    assert refused.end() == os.EX_NOPERM
    assert "set `declare` to false" in refused.log[-1]
    assert "Traceback" not in "".join(refused.log)


FORBIDDEN: list[tuple[str, str, Callable[[Channel], object]]] = [
    ("producer", "read jobs", lambda channel: channel.basic_get(TOPOLOGY.jobs)),
    ("producer", "consume jobs", lambda channel: channel.basic_consume(TOPOLOGY.jobs, print)),
    ("producer", "read dead letters", lambda channel: channel.basic_get(TOPOLOGY.dead)),
    ("producer", "purge jobs", lambda channel: channel.queue_purge(TOPOLOGY.jobs)),
    ("producer", "delete jobs", lambda channel: channel.queue_delete(TOPOLOGY.jobs)),
    ("producer", "declare a queue of ours", lambda channel: channel.queue_declare("classifier.new", durable=True)),
    ("producer", "declare a named queue", lambda channel: channel.queue_declare("mine")),
    ("producer", "publish dead letters", lambda channel: publish_to(channel, TOPOLOGY.dead_letter_exchange)),
    ("producer", "tap dead letters", lambda channel: bind_own(channel, TOPOLOGY.dead_letter_exchange)),
    ("consumer", "declare the jobs queue", lambda channel: channel.queue_declare("classifier.jobs", durable=True)),
    ("consumer", "declare a queue", lambda channel: channel.queue_declare("", exclusive=True)),
    ("consumer", "declare an exchange", lambda channel: channel.exchange_declare("classifier.dlx", "fanout")),
    ("consumer", "read dead letters", lambda channel: channel.basic_get(TOPOLOGY.dead)),
    ("consumer", "read results", lambda channel: channel.basic_get(TOPOLOGY.results)),
    ("consumer", "read a retry queue", lambda channel: channel.basic_get(TOPOLOGY.retry(1))),
    ("consumer", "delete jobs", lambda channel: channel.queue_delete(TOPOLOGY.jobs)),
    ("consumer", "unbind dead letters", lambda channel: channel.queue_unbind("classifier.dead", "classifier.dlx")),
    ("consumer", "publish elsewhere", lambda channel: publish_to(channel, "amq.topic")),
    ("gateway", "read jobs", lambda channel: channel.basic_get(TOPOLOGY.jobs)),
    ("gateway", "read results", lambda channel: channel.basic_get(TOPOLOGY.results)),
    ("gateway", "read error records", lambda channel: channel.basic_consume(TOPOLOGY.errors, print)),
    ("gateway", "declare its stream", lambda channel: channel.queue_declare(TOPOLOGY.gateway, durable=True)),
    ("gateway", "declare a queue", lambda channel: channel.queue_declare("", exclusive=True)),
    ("gateway", "delete its stream", lambda channel: channel.queue_delete(TOPOLOGY.gateway)),
    ("gateway", "publish elsewhere", lambda channel: publish_to(channel, "amq.topic")),
    ("operator", "declare outside", lambda channel: channel.queue_declare("outside", durable=True)),
    ("operator", "publish elsewhere", lambda channel: publish_to(channel, "amq.topic")),
]


def publish_to(channel: Channel, exchange: str) -> None:
    channel.confirm_delivery()
    channel.basic_publish(exchange, "", b"{}")


def bind_own(channel: Channel, exchange: str) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange)


def test_a_gateway_needs_no_more_than_its_user_may(imported: Node, running: ConsumerProcess) -> None:
    with gateway(url(imported, "gateway"), declare="false") as door:
        answers = [door.post({kind: 1}, Prefer="wait=50").json for kind in ("good", "error")]
        assert [answer["status"] for answer in answers] == ["succeeded", "failed"]
        assert door.process.stop() == os.EX_OK
    running.stop()
    with Producer(url(imported, "operator")) as operator:
        operator.take(TOPOLOGY.dead)


@pytest.mark.parametrize(
    ("user", "act"), [(user, act) for user, _, act in FORBIDDEN], ids=[f"{u}: {w}" for u, w, _ in FORBIDDEN]
)
def test_what_a_user_need_not_do_rabbitmq_refuses(
    imported: Node, user: str, act: Callable[[Channel], object]
) -> None:
    with (
        pika.BlockingConnection(pika.URLParameters(url(imported, user))) as connection,
        pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught,
    ):
        act(connection.channel())
    assert caught.value.reply_code == 403


@pytest.mark.parametrize("user", USERS)
def test_other_vhosts_are_closed_to_all(imported: Node, user: str) -> None:
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError):
        pika.BlockingConnection(pika.URLParameters(url(imported, user, "%2F")))


def test_the_operator_may_do_all_with_dead_letters_and_the_consumer_is_told_who_may(
    imported: Node, running: ConsumerProcess
) -> None:
    submit(imported)
    running.stop()
    operator = url(imported, "operator")
    with Producer(operator) as channel:
        wait_until(lambda: channel.depth(TOPOLOGY.dead) == 2, "the dead letters")
    assert sorted(letter["code"] for letter in listed(operator)) == ["classifier_error", "crashed"]
    replayed = dead_letters(operator, "replay", "--code", "crashed").stderr
    assert "replayed 1 dead letter\n" in replayed
    assert "had a reply_to that is their caller's own" in replayed  # a queue that RabbitMQ has named
    assert dead_letters(operator, "purge", "--all", "--yes").stderr == "deleted 1 dead letter\n"
    refused = dead_letters(url(imported, "consumer"), "list")
    remedy = (
        r"rabbitmqctl set_permissions -p VHOST USER '^classifier\.' '^classifier\.|^amq\.default$' '^classifier\.'"
    )
    assert (refused.returncode, remedy in refused.stderr) == (os.EX_NOPERM, True)
    with Producer(operator) as channel:
        channel.channel.queue_purge(TOPOLOGY.jobs)
