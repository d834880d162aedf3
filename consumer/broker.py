"""The service's side of RabbitMQ: queues declared, deliveries in, publishes confirmed, messages settled.

Two connections: one reads and acks, one publishes, because a RabbitMQ with an alarm stops reading every
connection that has published, acks included. Nothing is repaired here: whatever breaks a connection ends the
whole `Broker`, and RabbitMQ delivers again what was not settled. No call waits longer than its timeout.

What is done once goes through aio-pika, what is done for each job through the channel of aiormq below it: of
the 670 us of CPU that a job took, aio-pika's message objects were 60, and waiting for the socket 140 more.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from aio_pika import DeliveryMode, ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError, PublishError
from aiormq import Channel as UnderlayChannel
from aiormq.abc import AbstractChannel as AbstractUnderlayChannel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from consumer.connection import (
    CALL_TIMEOUT_S,
    CONFIRM_TIMEOUT_S,
    PRODUCT,
    VERSION,
    connection,
    may_be_lost,
    refusal_explained,
)
from consumer.messages import DIRECT_REPLY_PREFIX, Message
from consumer.topology import Topology

log = logging.getLogger(__name__)

APP_ID = f"{PRODUCT} {VERSION}"

#: A queue that refuses a message (full, overflow reject-publish) may have room soon; then we give the reply up.
REFUSAL_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as RabbitMQ handed it over. It is settled once, on the channel that it came by.

    `tag` means nothing on any other channel: they all count from 1.
    """

    message: Message
    channel: AbstractUnderlayChannel
    tag: int

    async def ack(self) -> None:
        """RabbitMQ forgets the message."""
        await self._tell(self.channel.basic_ack(self.tag, wait=False))

    async def dead_letter(self) -> None:
        """RabbitMQ moves the message to the dead-letter exchange, reason `rejected`."""
        await self._tell(self.channel.basic_nack(self.tag, requeue=False, wait=False))

    async def requeue(self) -> None:
        """RabbitMQ puts the message back."""
        await self._tell(self.channel.basic_nack(self.tag, requeue=True, wait=False))

    async def _tell(self, settlement: Awaitable[None]) -> None:
        """Send it, not waiting for the socket: a settlement that was written may be lost all the same.

        The channel may be gone. Then nothing can be settled any more, and nothing needs to be: RabbitMQ
        delivers again.
        """
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await settlement
        except CONNECTION_EXCEPTIONS as error:
            reason = str(error) or type(error).__name__
            log.warning("message %r will be delivered again: %s", self.message.message_id, reason)


class Broker:
    """Two open connections, and what arrives by the one: `inbox` holds deliveries that nobody has taken yet."""

    def __init__(self, reader: AbstractConnection, read: AbstractChannel, write: AbstractChannel) -> None:
        self.inbox: asyncio.Queue[Delivery] = asyncio.Queue()
        self._reader = reader
        self._read = read
        self._write = write
        self._cancelled = asyncio.Event()
        self._cancel: Any = None

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, name: str) -> AsyncIterator[Self]:
        """Connect twice; close both at the end, whatever happened.

        Args:
            url: an AMQP URL.
            name: shown in the management console behind what each connection is for.

        Raises:
            BrokerUnreachableError, BrokerRefusedError
        """
        async with connection(url, f"read {name}") as reader, connection(url, f"write {name}") as writer:
            read = await reader.channel(publisher_confirms=False)
            write = await writer.channel(publisher_confirms=True, on_return_raises=True)
            yield cls(reader, read, write)

    async def declare(self, topology: Topology) -> None:
        """Create all exchanges and queues, or find them as they should be.

        Raises:
            BrokerRefusedError: one is there with other arguments, or this user may not declare.
        """
        async with self._throw_away_channel("declare exchanges and queues") as channel:
            exchange = await channel.declare_exchange(
                topology.dead_letter_exchange,
                ExchangeType.FANOUT,
                durable=True,
                timeout=CALL_TIMEOUT_S,
            )
            for queue in topology.queues():
                declared = await channel.declare_queue(
                    queue.name, durable=True, arguments=dict(queue.arguments), timeout=CALL_TIMEOUT_S
                )
                if queue.name == topology.dead:
                    await declared.bind(exchange, timeout=CALL_TIMEOUT_S)

    async def check(self, topology: Topology) -> None:
        """Find all exchanges and queues there, without creating any: for a user without configure rights.

        Raises:
            BrokerRefusedError: naming what is missing.
        """
        async with self._throw_away_channel("find all exchanges and queues") as channel:
            await channel.get_exchange(topology.dead_letter_exchange)
            for queue in topology.queues():
                await channel.declare_queue(queue.name, passive=True, timeout=CALL_TIMEOUT_S)

    async def consume(self, queue: str, *, prefetch: int, tag: str) -> None:
        """Let deliveries come into the inbox, at most `prefetch` that are not settled yet.

        Raises:
            BrokerRefusedError: there is no such queue, or this user may not read it.
            ConnectionLostError
        """
        with may_be_lost(), refusal_explained(f"consume {queue}"):
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self._read.set_qos(prefetch_count=prefetch)
                channel = await self._read.get_underlay_channel()
                channel.on_consumer_cancel_callbacks.add(lambda _: self._cancelled.set())
                await channel.basic_consume(queue, self._on_message, consumer_tag=tag)
        self._cancel = lambda: channel.basic_cancel(tag)

    async def _on_message(self, delivered: DeliveredMessage) -> None:
        """Nothing else here: this task dies with the channel, a job must not."""
        self.inbox.put_nowait(_received(delivered))

    async def stop_consuming(self) -> None:
        """No delivery arrives after this returns; what has arrived can still be settled."""
        if self._cancel:
            with may_be_lost():
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    await self._cancel()

    async def lost(self) -> str:
        """Wait until we no longer consume or can no longer publish; return what happened."""
        waits = {
            asyncio.ensure_future(self._read.closed()): "the connection that reads jobs was closed",
            asyncio.ensure_future(self._write.closed()): "the connection that publishes was closed",
            asyncio.ensure_future(self._cancelled.wait()): "RabbitMQ cancelled the consumer (queue deleted?)",
        }
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return waits[done.pop()]

    async def publish(self, message: Message, queue: str) -> str | None:
        """Publish to a queue and wait until RabbitMQ has it.

        Returns:
            None, or why the queue did not get the message.

        Raises:
            ConnectionLostError: RabbitMQ may or may not have it.
        """
        give_up = asyncio.get_running_loop().time() + REFUSAL_PATIENCE_S
        # Up to 4.1 RabbitMQ returns a mandatory message for a direct reply-to although it delivers it.
        mandatory = not queue.startswith(DIRECT_REPLY_PREFIX)
        while True:
            try:
                with may_be_lost():
                    await self._publish_once(message, queue, mandatory=mandatory)
            except PublishError:
                return f"there is no queue {queue!r}"
            except DeliveryError:
                if asyncio.get_running_loop().time() > give_up:
                    return f"the queue {queue!r} takes no messages (full?)"
                await asyncio.sleep(random.uniform(0, 1))  # noqa: S311 - jitter, not a secret
            else:
                return None

    async def _publish_once(self, message: Message, queue: str, *, mandatory: bool) -> None:
        """Return when RabbitMQ confirms. Nobody waits for the socket besides: a confirm says more than a write."""
        channel = await self._write.get_underlay_channel()
        if not isinstance(channel, UnderlayChannel):
            raise TypeError(f"{channel!r} cannot publish without waiting for the socket")
        await channel.basic_publish(
            message.body,
            routing_key=queue,
            properties=_properties(message),
            mandatory=mandatory,
            timeout=CONFIRM_TIMEOUT_S,
            wait=False,
        )

    @asynccontextmanager
    async def _throw_away_channel(self, act: str) -> AsyncIterator[AbstractChannel]:
        """RabbitMQ answers a refusal by closing the channel, so a check must not use the one we read by."""
        channel = await self._reader.channel(publisher_confirms=False)
        try:
            with refusal_explained(act):
                yield channel
        finally:
            with suppress(*CONNECTION_EXCEPTIONS):
                await channel.close()


def _received(delivered: DeliveredMessage) -> Delivery:
    properties = delivered.header.properties
    message = Message(
        body=delivered.body,
        headers=properties.headers or {},
        message_id=properties.message_id,
        correlation_id=properties.correlation_id,
        reply_to=properties.reply_to,
        type=properties.message_type,
        timestamp=properties.timestamp.timestamp() if properties.timestamp else None,
        content_type=properties.content_type,
        content_encoding=properties.content_encoding,
        priority=properties.priority,
        app_id=properties.app_id,
    )
    tag = delivered.delivery_tag or 0  # a delivery has one; only what was returned to a publisher has none
    return Delivery(message, delivered.channel, tag)


def _properties(message: Message) -> Basic.Properties:
    """Persistent always: the library's default would not survive a restart of RabbitMQ."""
    return Basic.Properties(
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=dict(message.headers),
        delivery_mode=DeliveryMode.PERSISTENT,
        priority=message.priority,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        message_id=message.message_id,
        timestamp=datetime.fromtimestamp(message.timestamp or time.time(), UTC),
        message_type=message.type,
        app_id=message.app_id or APP_ID,
    )
