"""The service's side of RabbitMQ: queues declared, deliveries in, publishes confirmed, messages settled.

Two connections: one reads and acks, one publishes (publisher.py), because a RabbitMQ with an alarm stops reading
every connection that has published, acks included. Nothing is repaired here: whatever breaks a connection ends
the whole `Session`, with all deliveries that came by it, and RabbitMQ delivers again what was not settled. No call
waits longer than its timeout, but for a confirm that an alarm holds back.

What is done once goes through aio-pika, what is done for each job through the channel of aiormq below it: of
the 670 us of CPU that a job took, aio-pika's message objects were 60, and waiting for the socket 140 more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity
from aiormq import Channel as UnderlayChannel
from aiormq.abc import AbstractChannel as AbstractUnderlayChannel
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelAccessRefused, ChannelLockedResource
from pamqp.commands import Basic
from pamqp.commands import Queue as QueueCommands
from pamqp.common import FieldValue

from consumer.config.credentials import Credentials
from consumer.errors import BrokerUnreachableError
from consumer.rabbitmq import declare as declaration
from consumer.rabbitmq.codec import BrokerLimits, received
from consumer.rabbitmq.connection import (
    CALL_TIMEOUT_S,
    NO_FILES,
    NOTHING_MORE,
    connection,
    is_away,
    may_be_lost,
    refusal_explained,
)
from consumer.rabbitmq.connection_scope import Lifetime, Waiting
from consumer.rabbitmq.publisher import Publisher
from consumer.wire.message import Message
from consumer.wire.reply_address import DIRECT_REPLY_PREFIX
from consumer.wire.topology import Queue, Topology

log = logging.getLogger(__name__)

#: A stream is there some seconds after the quorum queues, when a node or a cluster starts.
STREAM_PATIENCE_S = 30.0
STREAM_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as RabbitMQ handed it over, answered and settled by the `broker` that it came by, or not at all.

    When that is lost, all here raise ConnectionLostError, and RabbitMQ delivers the message again.
    `tag` means nothing on any other channel: they all count from 1. `redelivered`: somebody had it before.
    """

    message: Message
    broker: Session
    channel: AbstractUnderlayChannel
    tag: int
    redelivered: bool

    async def publish(self, message: Message, queue: str) -> str | None:
        """Publish what answers the message: see `Publisher.publish`."""
        return await self.broker.publish(message, queue)

    async def publish_or_give_up(self, message: Message, queue: str) -> str | None:
        """Publish what the message can be settled without: see `Publisher.publish_or_give_up`."""
        return await self.broker.publish_or_give_up(message, queue)

    async def tell(self, message: Message, queue: str) -> None:
        """Publish what may be lost: see `Publisher.tell`."""
        await self.broker.tell(message, queue)

    async def has_queue(self, name: str) -> bool:
        """Ask whether who reads there has gone: see `Session.has_queue`."""
        return await self.broker.has_queue(name)

    def while_alive(self) -> Waiting:
        """Wait in a block for something, no longer than the message can be settled."""
        return Waiting(self.broker.lifetime)

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
        with self.broker.lifetime.ends_if_lost():
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await settle(self.tag, **how, wait=False)


class Session:
    """Two open connections, and what arrives by the one: `inbox` holds deliveries that nobody has taken yet.

    `lifetime` ends with the first sign that this Session is of no use any more.
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
        self._reader = reader
        self._read = read
        self._write = write
        self._limits = limits
        self.lifetime = Lifetime()
        self._publisher = Publisher(writer, write, limits, self.lifetime)
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
                await broker._publisher.finish()

    async def declare(self, topology: Topology) -> None:
        """Create all exchanges and queues, or find them as they should be. The error stream may be away.

        Raises:
            BrokerRefusedError: one is there with other arguments, or this user may not declare.
        """
        async with self._throw_away_channel("declare exchanges and queues") as channel:
            await declaration.declare(channel, topology)
        await self._find_error_stream(topology, create=True)

    async def check(self, topology: Topology) -> None:
        """Find all exchanges and queues, without creating any: for a user without configure rights.

        The error stream may be away.

        Raises:
            BrokerRefusedError: naming what is missing.
        """
        for exchange in topology.exchanges():
            await self.find_exchange(exchange.name)
        async with self._throw_away_channel("find all queues") as channel:
            await declaration.find(channel, topology)
        await self._find_error_stream(topology, create=False)

    async def _find_error_stream(self, topology: Topology, *, create: bool) -> None:
        """Wait while RabbitMQ starts the stream; then take jobs without it.

        RabbitMQ 3.10 that was killed may never start a stream again (see docs/faults.md). Its other queues work,
        so jobs must not wait for it for ever.
        """
        stream = topology.error_stream()
        is_known = stream.name in self._limits.silent
        give_up = asyncio.get_running_loop().time() + (0.0 if is_known else STREAM_PATIENCE_S)
        while True:
            try:
                await self.declare_queue(stream, create=create)
            except BrokerUnreachableError as error:
                if asyncio.get_running_loop().time() >= give_up:
                    self._limits.silent.add(stream.name)
                    _warn_of_missing_stream(error)
                    return
                await asyncio.sleep(STREAM_POLL_S)
            else:
                self._limits.silent.discard(stream.name)
                return

    async def declare_queue(self, queue: Queue, *, create: bool) -> None:
        """Create one queue, or find it as it should be; without `create` find one of that name.

        Raises:
            BrokerRefusedError: it is there with other arguments, or missing, or this user may not declare it.
        """
        async with self._throw_away_channel(f"{'declare' if create else 'find'} {queue.name}") as channel:
            await channel.declare_queue(
                queue.name,
                durable=True,
                passive=not create,
                arguments=dict(queue.arguments) if create else None,
                timeout=CALL_TIMEOUT_S,
            )

    async def find_exchange(self, name: str) -> None:
        """See that it is there, before anything is published to it.

        Raises:
            BrokerRefusedError: it is not.
        """
        async with self._throw_away_channel(f"find {name}") as channel:
            with suppress(ChannelAccessRefused):  # some of 4.2 and 4.3 require the right to configure for it
                await channel.declare_exchange(name, passive=True, timeout=CALL_TIMEOUT_S)

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
        self.inbox.put_nowait(Delivery(message, self, delivered.channel, tag, bool(delivered.redelivered)))

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
        watch = asyncio.create_task(self._publisher.watch_confirms(), name="watch confirms")
        ends: set[asyncio.Future[Any]] = {watch, self.lifetime.ended}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
        if not self.lifetime.ended.done():
            watch.result()  # raises: it ends by a bug only
        return await self.lifetime.ended

    async def publish(self, message: Message, queue: str, *, is_patient: bool = True) -> str | None:
        """Publish by the other connection: see `Publisher.publish`."""
        return await self._publisher.publish(message, queue, is_patient=is_patient)

    async def publish_or_give_up(self, message: Message, queue: str) -> str | None:
        """Publish by the other connection: see `Publisher.publish_or_give_up`."""
        return await self._publisher.publish_or_give_up(message, queue)

    async def is_blocked(self) -> bool:
        """Whether an alarm is known to hold back what we publish: see `Publisher.is_blocked`."""
        return await self._publisher.is_blocked()

    async def tell(self, message: Message, queue: str) -> None:
        """Publish what may be lost, by the other connection: see `Publisher.tell`."""
        await self._publisher.tell(message, queue)

    async def has_queue(self, name: str) -> bool:
        """Ask whether a queue, or a direct reply-to address, is there. Where RabbitMQ does not tell, it is.

        Raises:
            ConnectionLostError
        """
        if name in self._limits.unreachable:
            return False
        is_direct = name.startswith(DIRECT_REPLY_PREFIX)
        with self.lifetime.ends_if_lost(), Waiting(self.lifetime):
            noted = self._limits.unreachable.noted(name, self.lifetime) if is_direct else nullcontext()
            async with self._throw_away_channel(f"find {name}") as channel, noted:
                try:
                    await _find(channel, name)
                except ChannelNotFoundEntity as error:
                    return is_away(error)
                except (ChannelLockedResource, ChannelAccessRefused):
                    # Exclusive to its caller, so there; or not ours to ask (4.2.6 and 4.3.0: needs configure).
                    return True
        return True

    def _cannot_publish(self, channel: object, error: BaseException | None) -> None:
        self._closed("the connection that publishes", channel, error)
        self._publisher.lifetime.end(self.lifetime.ended.result())

    def _closed(self, what: str, _channel: object, error: BaseException | None) -> None:
        """Take note of a closed channel. With RabbitMQ's own words, where it said any."""
        if isinstance(error, asyncio.CancelledError):
            self.lifetime.end(f"{what} went silent")
        else:
            self.lifetime.end(f"{what} was closed: {str(error) or type(error).__name__}")

    @asynccontextmanager
    async def _throw_away_channel(self, act: str) -> AsyncIterator[AbstractChannel]:
        """RabbitMQ answers a refusal by closing the channel, so a check must not use the one we read by."""
        with may_be_lost(), refusal_explained(act):
            async with asyncio.timeout(CALL_TIMEOUT_S):
                channel = await self._reader.channel(publisher_confirms=False)
            try:
                yield channel
            finally:
                with suppress(TimeoutError, *CONNECTION_EXCEPTIONS):
                    async with asyncio.timeout(CALL_TIMEOUT_S):
                        await channel.close()


def _warn_of_missing_stream(error: BrokerUnreachableError) -> None:
    log.warning(
        "jobs that fail leave their reason in this log only, until RabbitMQ has its stream again: %s",
        error,
        extra={"event": "error_stream_away"},
    )


class _AnyQueue(QueueCommands.Declare):
    """Asks for a queue, and makes none, whatever its name: pamqp knows no `=`, which ends a direct reply-to's."""

    def __init__(self, name: str) -> None:
        super().__init__(passive=True)
        self.queue = name

    def validate(self) -> None:
        """A name came as a short string and goes as one; RabbitMQ is the judge of it."""


async def _find(channel: AbstractChannel, name: str) -> None:
    underlay = await channel.get_underlay_channel()
    if not isinstance(underlay, UnderlayChannel):
        raise TypeError(f"{underlay!r} cannot ask for any name")
    await underlay.rpc(_AnyQueue(name), timeout=CALL_TIMEOUT_S)
