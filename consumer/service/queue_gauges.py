"""Measures how many jobs wait, how many dead letters there are, and whether an alarm blocks the replies.

It asks over AMQP. So neither RabbitMQ's plugins nor a login for them are needed, and statsd and Prometheus have
the same numbers. All consumers of a queue report the same values: take the largest. A consumer that has lost its
connection reports no depths: 0 would say that no job waits and no dead letter is left.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol

from consumer.errors import ConnectionLostError
from consumer.rabbitmq.admin import Depth
from consumer.telemetry.metrics import Metrics
from consumer.wire.topology import Topology

#: Two requests; an alert looks at minutes.
PERIOD_S = 15.0


class Measurable(Protocol):
    """The part of `Admin` that knows how deep a queue is."""

    async def depth(self, name: str) -> Depth | None:
        """Return the depth of a queue; None if it does not exist."""


class Blockable(Protocol):
    """The part of `Publisher` that knows of an alarm."""

    async def is_blocked(self) -> bool:
        """Return whether RabbitMQ accepts no messages."""


async def measured(
    admin: Measurable, publisher: Blockable, topology: Topology, metrics: Metrics, period_s: float = PERIOD_S
) -> None:
    """Measure until cancelled; the session does that when it ends."""
    gauges = {"queue.waiting": topology.jobs, "queue.dead": topology.dead}
    try:
        while True:
            metrics.gauge("blocked", int(await publisher.is_blocked()))
            for gauge, queue in gauges.items():
                with suppress(ConnectionLostError):  # or no answer in time: the next one may be
                    depth = await admin.depth(queue)
                    metrics.gauge(gauge, (depth.ready if depth else None) or 0)
            await asyncio.sleep(period_s)
    finally:
        metrics.gauge("blocked", 0)
        for gauge in gauges:
            metrics.unknown(gauge)
