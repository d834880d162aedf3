"""The service's side of RabbitMQ: deliveries in, messages settled, until a connection is lost.

Two connections: one reads and acks, one publishes (publisher.py), because a RabbitMQ with an alarm stops reading
every connection that has published, acks included. Nothing is repaired here: whatever breaks a connection ends
the whole `Session`, with all deliveries that came by it, and RabbitMQ delivers again what was not settled. No call
waits longer than its timeout, but for a confirm that an alarm holds back.

What is done once goes through aio-pika, what is done for each job through the channel of aiormq below it: of
the 670 us of CPU that a job took, aio-pika's message objects were 60, and waiting for the socket 140 more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.abc import AbstractChannel as AbstractUnderlayChannel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.common import FieldValue

from consumer.config.credentials import Credentials
from consumer.rabbitmq import pamqp_patch
from consumer.rabbitmq.admin import Admin
from consumer.rabbitmq.codec import BrokerLimits, received
from consumer.rabbitmq.connection import (
    CALL_TIMEOUT_S,
    NO_FILES,
    NOTHING_MORE,
    connection,
    may_be_lost,
    refusal_explained,
)
from consumer.rabbitmq.connection_scope import Lifetime, Waiting
from consumer.rabbitmq.publisher import Publisher
from consumer.wire.message import Message


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as RabbitMQ handed it over, answered and settled by the session that it came by, or not at all.

    When the session's `lifetime` is over, all here raise ConnectionLostError, and RabbitMQ delivers it again.
    `publisher` sends what answers the message, and `admin` asks who waits for the answer.
    `tag` means nothing on any other channel: they all count from 1. `redelivered`: somebody had it before.
    """

    message: Message
    publisher: Publisher
    admin: Admin
    lifetime: Lifetime
    channel: AbstractUnderlayChannel
    tag: int
    redelivered: bool

    def while_alive(self) -> Waiting:
        """Wait in a block for something, no longer than the message can be settled."""
        return Waiting(self.lifetime)

    async def ack(self) -> None:
        """RabbitMQ forgets the message."""
        await self._tell(self.channel.basic_ack)

    async def dead_letter(self) -> None:
        """RabbitMQ moves the message to the dead-letter exchange, reason `rejected`."""
        await self._tell(self.channel.basic_nack, requeue=False)

    async def requeue(self) -> None:
        """RabbitMQ puts the message back."""
        await self._tell(self.channel.basic_nack, requeue=True)

    async def _tell(self, settle: Callable[..., Awaitable[None]], **how: bool) -> None:
        """Send it, not waiting for the socket: a settlement that was written may be lost all the same."""
        with self.lifetime.ends_if_lost():
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await settle(self.tag, **how, wait=False)


class Session:
    """Two open connections, and what arrives by the one: `inbox` holds deliveries that nobody has taken yet.

    `lifetime` ends with the first sign that this Session is of no use any more. `publisher` publishes, `admin`
    asks for exchanges and queues.
    Mutable state: `_consumers`, the tags of those that there are; `_is_stopping`, set when no more may be added.
    """

    def __init__(
        self,
        reader: AbstractConnection,
        writer: AbstractConnection,
        read: AbstractChannel,
        write: AbstractChannel,
        limits: BrokerLimits,
    ) -> None:
        self.inbox: asyncio.Queue[Delivery] = asyncio.Queue()
        self._read = read
        self._write = write
        self.lifetime = Lifetime()
        self.publisher = Publisher(writer, write, limits, self.lifetime)
        self.admin = Admin(reader, limits, self.lifetime)
        self._consumers: dict[str, str] = {}
        self._is_stopping = False
        read.close_callbacks.add(partial(self._closed, "the connection that reads jobs"))
        write.close_callbacks.add(self._cannot_publish)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        name: str,
        limits: BrokerLimits | None = None,
        credentials: Credentials = NO_FILES,
        about: Mapping[str, str] = NOTHING_MORE,
    ) -> AsyncIterator[Self]:
        """Connect twice; close both at the end, whatever happened.

        Args:
            url: an AMQP URL.
            name: shown in the management console behind what each connection is for.
            limits: what a session before this one has learned, and a later one shall know.
            credentials: files that go with the URL.
            about: what the management console shows of us.

        Raises:
            BrokerUnreachableError, BrokerRefusedError, ConfigurationError
        """
        pamqp_patch.install()
        async with (
            connection(url, f"read {name}", credentials, about) as reader,
            connection(url, f"write {name}", credentials, about) as writer,
        ):
            with may_be_lost():
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    read = await reader.channel(publisher_confirms=False)
                    write = await writer.channel(publisher_confirms=True, on_return_raises=True)
            broker = cls(reader, writer, read, write, limits or BrokerLimits())
            try:
                yield broker
            finally:
                await broker.publisher.finish()

    async def consume(
        self, queue: str, *, prefetch: int, tag: str, arguments: Mapping[str, FieldValue] = NOTHING_MORE
    ) -> None:
        """Let deliveries come into the inbox, at most `prefetch` of this consumer that are not settled yet.

        Does nothing once we stop.

        Args:
            queue: where from.
            prefetch: how many at most.
            tag: the consumer's name in the management console.
            arguments: of the consumer, such as where in a stream it begins. The management console shows them
                beside the tag; what RabbitMQ does not know it takes no notice of.

        Raises:
            BrokerRefusedError: there is no such queue, or this user may not read it.
            ConnectionLostError
        """
        if self._is_stopping:
            return
        with may_be_lost(), refusal_explained(f"consume {queue}"):
            async with asyncio.timeout(CALL_TIMEOUT_S):
                channel = await self._read.get_underlay_channel()
                if not self._consumers:
                    await self._read.set_qos(prefetch_count=prefetch)
                    channel.on_consumer_cancel_callbacks.add(self._on_cancel)
                self._consumers[tag] = queue  # before it is there: who stops meanwhile cancels it, too
                await channel.basic_consume(queue, self._on_message, consumer_tag=tag, arguments=dict(arguments))

    def _on_cancel(self, cancel: Basic.Cancel) -> None:
        queue = self._consumers.get(cancel.consumer_tag or "", "a queue")
        self.lifetime.end(f"RabbitMQ cancelled the consumer of {queue} (was the queue deleted?)")

    async def _on_message(self, delivered: DeliveredMessage) -> None:
        """Nothing else here: this task dies with the channel, a job must not."""
        tag = delivered.delivery_tag or 0  # a delivery has one; only what was returned to a publisher has none
        message = received(delivered.header.properties, delivered.body)
        delivery = Delivery(
            message,
            self.publisher,
            self.admin,
            self.lifetime,
            delivered.channel,
            tag,
            bool(delivered.redelivered),
        )
        self.inbox.put_nowait(delivery)

    async def cancel(self, tag: str) -> None:
        """End one consumer. What has come to it by the time that this returns can still be settled.

        Raises:
            ConnectionLostError
        """
        with may_be_lost():
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await (await self._read.get_underlay_channel()).basic_cancel(tag)

    async def stop_consuming(self) -> None:
        """No delivery arrives after this returns; what has arrived can still be settled."""
        self._is_stopping = True
        for tag in list(self._consumers):
            await self.cancel(tag)

    async def flush(self) -> None:
        """Return when RabbitMQ has every settlement so far: it answers one channel in order.

        Raises:
            ConnectionLostError
        """
        with may_be_lost():
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self._read.set_qos(prefetch_count=1)

    async def lost(self) -> str:
        """Wait until we no longer consume or can no longer publish; return what happened."""
        if self._read.is_closed or self._write.is_closed:
            self.lifetime.end("the connection was closed while it was opened")
        watch = asyncio.create_task(self.publisher.watch_confirms(), name="watch confirms")
        ends: set[asyncio.Future[Any]] = {watch, self.lifetime.ended}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
        if not self.lifetime.ended.done():
            watch.result()  # raises: it ends by a bug only
        return await self.lifetime.ended

    def _cannot_publish(self, channel: object, error: BaseException | None) -> None:
        self._closed("the connection that publishes", channel, error)
        self.publisher.lifetime.end(self.lifetime.ended.result())

    def _closed(self, what: str, _channel: object, error: BaseException | None) -> None:
        """Take note of a closed channel. With RabbitMQ's own words, where it said any."""
        if isinstance(error, asyncio.CancelledError):
            self.lifetime.end(f"{what} went silent")
        else:
            self.lifetime.end(f"{what} was closed: {str(error) or type(error).__name__}")
