"""How the rate grows with consumers and nodes, and what stands in its way: `make scale`.

Jobs that sleep cost no CPU, so that 64 slots show on two processors what 64 processors would: whether the queue,
the connections and the sharing of jobs keep up. Jobs that do nothing show the most that consumers on this machine
can take, and messages without jobs what its RabbitMQ can bear.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import scale_report
import through
from amqp_socket import ID_PLACEHOLDER, Connection, encode
from fleet import broker_cpu_s, consumers_cpu_s, running
from load import Load
from pamqp.commands import Basic
from scale_report import MESSAGES, SLEEPING, TINY, Point
from support.rabbitmq.cluster import Cluster
from support.rabbitmq.management_api import create_vhost

from consumer.local_broker import node as local_broker
from consumer.local_broker.node import Node
from consumer.rabbitmq.session import Session
from consumer.wire.topology import Topology

IS_QUICK = os.environ.get("BENCH_QUICK") == "1"
SLOTS, SLEEP_S = 8, 0.2
#: 64 slots and 200 ms: 320 jobs a second. What is below this share is lost in RabbitMQ or in ourselves.
LEAST_SHARE = 0.85
CONSUMERS = (1, 8) if IS_QUICK else (1, 2, 4, 8)
#: Jobs for each slot: 25 of them are 5 s.
ROUNDS = 10 if IS_QUICK else 25
TINY_JOBS = 2_000 if IS_QUICK else 10_000
RAW_MESSAGES = 12_000 if IS_QUICK else 60_000
#: Consumers of jobs that do nothing: more would only share the same processors.
FEW = 2
#: Jobs on their way for each slot: one runs, the others wait, so that no slot waits for one.
WAITING = 4
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Place:
    """A RabbitMQ: the URLs of a new virtual host at each of its nodes, and the nodes' processes."""

    urls: tuple[str, ...]
    pids: tuple[int, ...]


@pytest.fixture(scope="module")
def points() -> Iterator[list[Point]]:
    """What was measured; reported at the end."""
    collected: list[Point] = []
    yield collected
    if collected:
        scale_report.write(collected)


@pytest.fixture(scope="module")
def own_node(server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:  # noqa: ARG001
    data_dir = tmp_path_factory.mktemp("rabbitmq")
    try:
        yield local_broker.up(data_dir)
    finally:
        local_broker.down(data_dir, timeout_s=0)


@pytest.fixture
def one_node(own_node: Node) -> Place:
    vhost = f"scale-{uuid4().hex[:8]}"
    create_vhost(own_node, vhost)
    return Place((own_node.vhost_url(vhost),), (own_node.pid,))


@pytest.fixture
def three_nodes(cluster: Cluster) -> Place:
    vhost = f"scale-{uuid4().hex[:8]}"
    cluster.add_vhost(vhost)
    return Place(tuple(cluster.urls(vhost)), tuple(node.pid for node in cluster.nodes.values()))


@pytest.mark.parametrize("consumers", CONSUMERS)
def test_64_slots_of_8_consumers_reach_85_percent_of_the_ideal_rate(
    consumers: int, one_node: Place, points: list[Point], tmp_path: Path
) -> None:
    jobs = consumers * SLOTS * ROUNDS
    trial = Trial(SLEEPING, "fleet_jobs:sleeps", consumers, jobs, ideal_per_s=consumers * SLOTS / SLEEP_S)
    point = _measured(one_node, trial, tmp_path)
    points.append(point)
    assert point.per_s >= LEAST_SHARE * consumers * SLOTS / SLEEP_S


def test_jobs_that_do_nothing(one_node: Place, points: list[Point], tmp_path: Path) -> None:
    points.append(_tiny(one_node, tmp_path))


def test_messages_without_jobs(one_node: Place, points: list[Point]) -> None:
    points.append(_raw(one_node))


def test_three_nodes(three_nodes: Place, points: list[Point], tmp_path: Path) -> None:
    points.append(_tiny(three_nodes, tmp_path))
    points.append(_raw(three_nodes))


def _tiny(place: Place, folder: Path) -> Point:
    return _measured(place, Trial(TINY, "fleet_jobs:tiny", FEW, TINY_JOBS), folder)


@dataclass(frozen=True)
class Trial:
    """So many jobs, each for one function, for so many consumers of 8 slots."""

    what: str
    function: str
    consumers: int
    jobs: int
    ideal_per_s: float | None = None

    @property
    def settings(self) -> dict[str, object]:
        return {"classifier": self.function, "pool_size": SLOTS}


def _measured(place: Place, trial: Trial, folder: Path) -> Point:
    """Take the rate of a closed loop, after a round of all slots that is not counted."""
    topology = Topology("classifier", 3)
    slots = trial.consumers * SLOTS
    with (
        running(trial.consumers, place.urls, folder, trial.settings, sleep_s=SLEEP_S) as pids,
        closing(Connection(place.urls[0], TIMEOUT_S)) as connection,
    ):
        load = Load(connection, [_message(topology, connection.replies)])
        load.run(slots, slots)
        before = consumers_cpu_s(pids), broker_cpu_s(place.pids)
        run = load.run(trial.jobs, WAITING * slots)
        after = consumers_cpu_s(pids), broker_cpu_s(place.pids)
    ours, rabbits = ((late - early) / trial.jobs * 1000 for early, late in zip(before, after, strict=True))
    return Point(
        what=trial.what,
        consumers=trial.consumers,
        nodes=len(place.pids),
        per_s=run.jobs_per_s,
        ideal_per_s=trial.ideal_per_s,
        consumers_cpu_ms=ours,
        broker_cpu_ms=rabbits,
    )


def _message(topology: Topology, replies: str) -> bytes:
    properties = Basic.Properties(
        delivery_mode=2, message_id=ID_PLACEHOLDER, correlation_id=ID_PLACEHOLDER, reply_to=replies
    )
    return encode(topology.jobs, through.BODY, properties)


def _raw(place: Place) -> Point:
    """Send messages through a queue that is new here."""
    topology = Topology("raw", 3)
    asyncio.run(_declare(place.urls, topology))
    before = broker_cpu_s(place.pids)
    rate = through.rate(place.urls, topology.jobs, RAW_MESSAGES)
    cpu_ms = (broker_cpu_s(place.pids) - before) / RAW_MESSAGES * 1000
    return Point(MESSAGES, 1, len(place.pids), rate, broker_cpu_ms=cpu_ms)


async def _declare(urls: Sequence[str], topology: Topology) -> None:
    async with Session.open(urls[0], name="scale") as broker:
        await broker.admin.declare(topology)
