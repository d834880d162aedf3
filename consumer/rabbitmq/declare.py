"""Declares exchanges and the needed queues on one channel, or checks that they exist, in the order of topology.py.

The error stream is not among them: its loss must not stop the jobs, so the session checks it separately. This
module does not consume or settle. A refusal closes the channel, so callers pass one that they can throw away.
"""

from __future__ import annotations

from aio_pika.abc import AbstractChannel

from consumer.rabbitmq.connection import CALL_TIMEOUT_S
from consumer.wire.topology import Topology


async def declare(channel: AbstractChannel, topology: Topology) -> None:
    """Create all exchanges and queues, and bind queues to exchanges."""
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
    """Check that each queue exists; create none."""
    for queue in topology.needed_queues():
        await channel.declare_queue(queue.name, passive=True, timeout=CALL_TIMEOUT_S)
