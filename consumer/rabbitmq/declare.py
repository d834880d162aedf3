"""Exchanges and queues declared, or found as they are, by one channel, in the order of topology.py.

Consumes and settles nothing. What RabbitMQ refuses closes the channel, so it is one to be thrown away.
"""

from __future__ import annotations

import re
from typing import Final

from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelPreconditionFailed, ConnectionCommandInvalid

from consumer.errors import BrokerRefusedError
from consumer.rabbitmq.connection import CALL_TIMEOUT_S
from consumer.wire.topology import SHARDING_PLUGIN, Exchange, Topology

#: What RabbitMQ says of an exchange's type that comes with a plugin: not enabled, or not any more.
UNKNOWN_TYPE: Final = re.compile("(unknown|invalid) exchange type")


async def declare(channel: AbstractChannel, topology: Topology) -> None:
    """Create all, and bind queues to exchanges."""
    exchanges = topology.exchanges()
    for exchange in exchanges:
        await _declare_exchange(channel, exchange)
    for queue in topology.queues():
        declared = await channel.declare_queue(
            queue.name, durable=True, arguments=dict(queue.arguments), timeout=CALL_TIMEOUT_S
        )
        for exchange in exchanges:
            if queue.name in exchange.queues:
                await declared.bind(exchange.name, exchange.routing_key, timeout=CALL_TIMEOUT_S)


async def find(channel: AbstractChannel, topology: Topology) -> None:
    """Ask for each queue by its name; create none."""
    for queue in topology.queues():
        await channel.declare_queue(queue.name, passive=True, timeout=CALL_TIMEOUT_S)


async def _declare_exchange(channel: AbstractChannel, exchange: Exchange) -> None:
    """Make it. A type that no plugin knows closes the connection up to RabbitMQ 3.13, later only the channel.

    Raises:
        BrokerRefusedError: naming the plugin.
    """
    try:
        await channel.declare_exchange(
            exchange.name,
            exchange.type,
            durable=True,
            arguments=dict(exchange.arguments),
            timeout=CALL_TIMEOUT_S,
        )
    except (ConnectionCommandInvalid, ChannelPreconditionFailed) as error:
        if not UNKNOWN_TYPE.search(str(error)):
            raise
        raise BrokerRefusedError(
            f"RabbitMQ has no exchanges of type {exchange.type}, which `shards` needs; on each node "
            f"`rabbitmq-plugins enable {SHARDING_PLUGIN}`, or set `shards` to 1"
        ) from None
