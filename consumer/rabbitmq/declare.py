"""Exchanges and needed queues declared, or found as they are, by one channel, in the order of topology.py.

The error stream is not among them: its loss must not stop the jobs, so the session asks for it separately. This
module consumes and settles nothing. A refusal of RabbitMQ closes the channel, so it is one to be thrown away.
"""

from __future__ import annotations

from aio_pika.abc import AbstractChannel

from consumer.rabbitmq.connection import CALL_TIMEOUT_S
from consumer.wire.topology import Topology


async def declare(channel: AbstractChannel, topology: Topology) -> None:
    """Create all, and bind queues to exchanges."""
    exchanges = topology.exchanges()
    for exchange in exchanges:
        await channel.declare_exchange(exchange.name, exchange.type, durable=True, timeout=CALL_TIMEOUT_S)
    for queue in topology.needed_queues():
        declared = await channel.declare_queue(
            queue.name, durable=True, arguments=dict(queue.arguments), timeout=CALL_TIMEOUT_S
        )
        for exchange in exchanges:
            if queue.name in exchange.queues:
                await declared.bind(exchange.name, timeout=CALL_TIMEOUT_S)


async def find(channel: AbstractChannel, topology: Topology) -> None:
    """Ask for each queue by its name; create none."""
    for queue in topology.needed_queues():
        await channel.declare_queue(queue.name, passive=True, timeout=CALL_TIMEOUT_S)
