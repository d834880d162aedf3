"""The depths of the queues and an alarm as gauges: measured again and again, and unknown without a connection."""

from __future__ import annotations

import asyncio
import math

from support.async_tests import runs_async

from consumer.errors import ConnectionLostError
from consumer.rabbitmq.admin import Depth
from consumer.service.queue_gauges import measured
from consumer.telemetry.metrics import Metrics
from consumer.wire.topology import Topology

TOPOLOGY = Topology("ours", 3)


class Rabbit:
    """RabbitMQ.

    Mutable state: `depths`, by queue; `rounds`, released by each round of questions; `is_lost`; `has_alarm`.
    """

    def __init__(self) -> None:
        self.depths: dict[str, Depth | None] = {
            "ours.jobs": Depth(ready=7, consumers=1),
            "ours.dead": Depth(ready=2, consumers=0),
        }
        self.rounds = asyncio.Semaphore(0)
        self.is_lost = False
        self.has_alarm = False

    async def is_blocked(self) -> bool:
        return self.has_alarm

    async def depth(self, name: str) -> Depth | None:
        if self.is_lost:
            raise ConnectionLostError("cut")
        if name == "ours.dead":
            self.rounds.release()
        return self.depths[name]


def values(metrics: Metrics) -> tuple[float, float]:
    return metrics.registry.value("queue.waiting"), metrics.registry.value("queue.dead")


def are_unknown(metrics: Metrics) -> bool:
    return all(math.isnan(value) for value in values(metrics))


@runs_async
async def test_the_depths_follow_the_queues_and_are_unknown_without_a_connection() -> None:
    rabbitmq, metrics = Rabbit(), Metrics()
    measuring = asyncio.create_task(measured(rabbitmq, rabbitmq, TOPOLOGY, metrics, period_s=0))
    await rabbitmq.rounds.acquire()
    await rabbitmq.rounds.acquire()
    assert values(metrics) == (7, 2)
    rabbitmq.depths = {"ours.jobs": Depth(), "ours.dead": None}  # this user may not ask; it was deleted
    for _ in range(3):
        await rabbitmq.rounds.acquire()
    assert values(metrics) == (0, 0)
    rabbitmq.depths["ours.jobs"] = Depth(ready=7, consumers=1)
    for _ in range(3):
        await rabbitmq.rounds.acquire()
    rabbitmq.is_lost = True  # no answer in time: what is known stays, and the next question may be answered
    for _ in range(3):
        await asyncio.sleep(0)
    assert values(metrics) == (7, 0)
    rabbitmq.is_lost = False
    rabbitmq.depths["ours.jobs"] = Depth(ready=8, consumers=1)
    for _ in range(3):
        await rabbitmq.rounds.acquire()
    assert values(metrics) == (8, 0)
    measuring.cancel()
    await asyncio.wait({measuring})
    assert are_unknown(metrics)


@runs_async
async def test_a_session_that_ends_leaves_no_depth_behind() -> None:
    rabbitmq, metrics = Rabbit(), Metrics()
    measuring = asyncio.create_task(measured(rabbitmq, rabbitmq, TOPOLOGY, metrics))
    await rabbitmq.rounds.acquire()
    await asyncio.sleep(0)
    measuring.cancel()
    await asyncio.wait({measuring})
    assert are_unknown(metrics)


@runs_async
async def test_an_alarm_that_holds_the_replies_is_a_gauge_until_it_or_the_connection_ends() -> None:
    rabbitmq, metrics = Rabbit(), Metrics()

    def gauge() -> str:  # as Prometheus reads it
        [line] = (line for line in metrics.registry.text().splitlines() if line.startswith("classifier_blocked "))
        return line.rpartition(" ")[2]

    async def blocked(has_alarm: bool) -> str:
        rabbitmq.has_alarm = has_alarm
        for _ in range(2):  # the round in progress, and one that began after it
            await rabbitmq.rounds.acquire()
        return gauge()

    measuring = asyncio.create_task(measured(rabbitmq, rabbitmq, TOPOLOGY, metrics, period_s=0))
    assert [await blocked(yes) for yes in (False, True, False, True)] == ["0", "1", "0", "1"]
    measuring.cancel()
    await asyncio.wait({measuring})
    assert gauge() == "0"
