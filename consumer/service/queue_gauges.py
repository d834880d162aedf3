"""Measures how many jobs wait, how many dead letters there are, and whether an alarm blocks the replies.

It measures over AMQP, which needs neither a plugin of RabbitMQ nor another login; so statsd and Prometheus have
the same numbers. All consumers of a queue report the same values: take the largest. A consumer that has lost its
connection reports no depths, because 0 would mean that no job waits and no dead letter is left.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from consumer.errors import ConnectionLostError
from consumer.rabbitmq.admin import Depth
from consumer.telemetry.metrics import Metrics
from consumer.wire.topology import Topology

#: Seconds between measurements. Each needs two requests, and alerts evaluate minutes.
PERIOD_S = 15.0


class Measurable(Protocol):
    """The part of `Admin` that reads the depth of a queue."""

    async def depth(self, name: str) -> Depth | None:
        """Return the depth of a queue; None if it does not exist."""


class Blockable(Protocol):
    """The part of `Publisher` that detects an alarm."""

    async def is_blocked(self) -> bool:
        """Return whether RabbitMQ accepts no messages."""


async def measured(
    admin: Measurable, publisher: Blockable, topology: Topology, metrics: Metrics, period_s: float = PERIOD_S
) -> None:
    """Measure repeatedly, until the end of the session cancels this task."""
    gauges = {"queue.waiting": topology.jobs, "queue.dead": topology.dead}
    try:
        while True:
            metrics.gauge("blocked", int(await publisher.is_blocked()))
            for gauge, queue in gauges.items():
                with suppress(ConnectionLostError):  # or no answer in time: the next measurement may succeed
                    depth = await admin.depth(queue)
                    metrics.gauge(gauge, (depth.ready if depth else None) or 0)
            await asyncio.sleep(period_s)
    finally:
        metrics.gauge("blocked", 0)
        for gauge in gauges:
            metrics.unknown(gauge)
