"""Dead letters by the hundred, without a consumer: published as jobs, rejected, each with its error record."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
from collections.abc import Iterable
from typing import Any

import pika
from support.processes import forked
from support.processes.commands import environment
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S, wait_until

from consumer.job import Failed, Request
from consumer.rabbitmq.session import Session
from consumer.wire.topology import Topology
from consumer.wire.write import error_record

TOPOLOGY = Topology("classifier", 3)


def declare(url: str) -> None:
    """Make all queues, as a consumer would."""

    async def do() -> None:
        async with Session.open(url, name="test") as broker:
            await broker.admin.declare(TOPOLOGY)

    asyncio.run(do())


def job(number: int) -> bytes:
    return json.dumps({"signal": [number, 0.5], "model": f"m{number % 3}"}).encode()


def bury(producer: Producer, ids: Iterable[str], *, why: str = "no class fits", **properties: Any) -> None:  # noqa: ANN401 - AMQP
    """Let jobs die one after the other, as of a classifier's ERROR line.

    No confirm for each, which would take a millisecond: the queue's depth says when all are there.
    """
    names = list(ids)
    before = producer.depth(TOPOLOGY.dead)
    channel = producer.channel.connection.channel()
    for number, name in enumerate(names):
        request = Request(id=name, correlation_id=name)
        record = error_record(request, Failed(message=why), consumer="test")
        channel.basic_publish("", TOPOLOGY.errors, record.body)
        chosen = pika.BasicProperties(delivery_mode=2, message_id=name, **properties)
        channel.basic_publish("", TOPOLOGY.jobs, job(number), chosen)
    reject(producer, len(names))
    wait_until(lambda: producer.depth(TOPOLOGY.dead) == before + len(names), "the dead letters")


def reject(producer: Producer, count: int) -> None:
    """Reject the next jobs, each by itself: a nack of many does not keep their order."""
    for method, _, _ in itertools.islice(
        producer.channel.consume(TOPOLOGY.jobs, inactivity_timeout=PATIENCE_S), count
    ):
        producer.channel.basic_nack(method.delivery_tag, requeue=False)
    producer.channel.cancel()


def dead_letters(url: str, *arguments: str, stdin: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command `consumer dead-letters`."""
    variables = {**environment(url, **settings), "COLUMNS": "160"}
    return forked.run("consumer", "dead-letters", *arguments, env=variables, stdin=stdin)


def listed(url: str, *arguments: str) -> list[dict[str, Any]]:
    """What `list --json` says."""
    done = dead_letters(url, "list", "--json", *arguments)
    assert done.returncode == os.EX_OK, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def ids(url: str, *arguments: str) -> list[str]:
    return [letter["job_id"] for letter in listed(url, *arguments)]
