"""A delivered message, and the three ways to settle it: acknowledge, dead-letter, requeue.

A settlement is written without waiting for the socket, and is never repeated. If the connection is lost, RabbitMQ
redelivers the message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiormq.abc import AbstractChannel as AbstractUnderlayChannel

from consumer.rabbitmq.admin import Admin
from consumer.rabbitmq.connection import CALL_TIMEOUT_S
from consumer.rabbitmq.connection_scope import Lifetime, Waiting
from consumer.rabbitmq.publisher import Publisher
from consumer.wire.message import Message


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivered message. Only the session that received it can answer and settle it.

    After the session's `lifetime` has ended, every method raises ConnectionLostError, and RabbitMQ redelivers the
    message. `publisher` publishes the answers; `admin` checks whether the reply queue exists. `tag` is valid only
    on `channel`. `redelivered`: whether a consumer, perhaps this one, has received the message before. `consumer`:
    the tag of the consumer that has received it now.
    """

    message: Message
    publisher: Publisher
    admin: Admin
    lifetime: Lifetime
    channel: AbstractUnderlayChannel
    tag: int
    redelivered: bool
    consumer: str

    def while_alive(self) -> Waiting:
        """Return a context manager that ends the waits in its block when the message can no longer be settled."""
        return Waiting(self.lifetime)

    async def ack(self) -> None:
        """Acknowledge: RabbitMQ deletes the message."""
        await self._settle(self.channel.basic_ack)

    async def dead_letter(self) -> None:
        """Reject: RabbitMQ moves the message to the dead-letter exchange, with the reason `rejected`."""
        await self._settle(self.channel.basic_nack, requeue=False)

    async def requeue(self) -> None:
        """Requeue: RabbitMQ puts the message back into the queue."""
        await self._settle(self.channel.basic_nack, requeue=True)

    async def _settle(self, method: Callable[..., Awaitable[None]], **how: bool) -> None:
        """Send a settlement without waiting for the socket: even a written settlement may be lost."""
        with self.lifetime.ends_if_lost():
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await method(self.tag, **how, wait=False)
