"""The service's side of RabbitMQ: queues declared, deliveries in, publishes confirmed, messages settled.

Two connections: one reads and acks, one publishes, because a RabbitMQ with an alarm stops reading every
connection that has published, acks included. Nothing is repaired here: whatever breaks a connection ends the
whole `Broker`, and RabbitMQ delivers again what was not settled. No call waits longer than its timeout.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelInvalidStateError, DeliveryError, PublishError

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

#: A queue that refuses a message (full, overflow reject-publish) may have room soon; then we give the reply up.
REFUSAL_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as RabbitMQ handed it over. It is settled once, on the channel that it came by."""

    message: Message
    incoming: AbstractIncomingMessage

    async def ack(self) -> None:
        """RabbitMQ forgets the message."""
        with self._channel_may_be_gone():
            await self.incoming.ack()

    async def dead_letter(self) -> None:
        """RabbitMQ moves the message to the dead-letter exchange, reason `rejected`."""
        with self._channel_may_be_gone():
            await self.incoming.nack(requeue=False)

    async def requeue(self) -> None:
        """RabbitMQ puts the message back."""
        with self._channel_may_be_gone():
            await self.incoming.nack(requeue=True)

    @contextmanager
    def _channel_may_be_gone(self) -> Iterator[None]:
        """Then nothing can be settled any more, and nothing needs to be: RabbitMQ delivers again."""
        try:
            yield
        except (ChannelInvalidStateError, *CONNECTION_EXCEPTIONS) as error:
            log.warning("message %r will be delivered again: %s", self.message.message_id, error)


class Broker:
    """Two open connections, and what arrives by the one: `inbox` holds deliveries that nobody has taken yet."""

    def __init__(self, reader: AbstractConnection, writer: AbstractConnection) -> None:
        self.inbox: asyncio.Queue[Delivery] = asyncio.Queue()
        self._reader = reader
        self._writer = writer
        self._read: AbstractChannel | None = None
        self._write: AbstractChannel | None = None
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
            broker = cls(reader, writer)
            broker._read = await reader.channel(publisher_confirms=False)
            broker._write = await writer.channel(publisher_confirms=True, on_return_raises=True)
            yield broker

    async def declare(self, topology: Topology) -> None:
        """Create all exchanges and queues, or find them as they should be.

        Raises:
            BrokerRefusedError: one is there with other arguments, or this user may not declare.
        """
        async with self._throw_away_channel("declare exchanges and queues") as channel:
            exchange = await channel.declare_exchange(
                topology.dead_letter_exchange,
                aio_pika.ExchangeType.FANOUT,
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
        channel = _opened(self._read)
        with may_be_lost(), refusal_explained(f"consume {queue}"):
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await channel.set_qos(prefetch_count=prefetch)
                jobs = await channel.get_queue(queue, ensure=False)
                underlay = await channel.get_underlay_channel()
                underlay.on_consumer_cancel_callbacks.add(lambda _: self._cancelled.set())
                await jobs.consume(self._on_message, consumer_tag=tag)
        self._cancel = lambda: jobs.cancel(tag)

    async def _on_message(self, incoming: AbstractIncomingMessage) -> None:
        """Nothing else here: this task dies with the channel, a job must not."""
        self.inbox.put_nowait(Delivery(_received(incoming), incoming))

    async def stop_consuming(self) -> None:
        """No delivery arrives after this returns; what has arrived can still be settled."""
        if self._cancel:
            with may_be_lost():
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    await self._cancel()

    async def lost(self) -> str:
        """Wait until we no longer consume or can no longer publish; return what happened."""
        waits = {
            asyncio.ensure_future(_opened(self._read).closed()): "the connection that reads jobs was closed",
            asyncio.ensure_future(_opened(self._write).closed()): "the connection that publishes was closed",
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
                    await _opened(self._write).default_exchange.publish(
                        _outgoing(message), queue, mandatory=mandatory, timeout=CONFIRM_TIMEOUT_S
                    )
            except PublishError:
                return f"there is no queue {queue!r}"
            except DeliveryError:
                if asyncio.get_running_loop().time() > give_up:
                    return f"the queue {queue!r} takes no messages (full?)"
                await asyncio.sleep(random.uniform(0, 1))  # noqa: S311 - jitter, not a secret
            else:
                return None

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


def _opened(channel: AbstractChannel | None) -> AbstractChannel:
    if channel is None:
        raise RuntimeError("Broker.open makes the channels; nothing works before")
    return channel


def _received(incoming: AbstractIncomingMessage) -> Message:
    return Message(
        body=incoming.body,
        headers=incoming.headers,
        message_id=incoming.message_id,
        correlation_id=incoming.correlation_id,
        reply_to=incoming.reply_to,
        type=incoming.type,
        timestamp=incoming.timestamp.timestamp() if incoming.timestamp else None,
        content_type=incoming.content_type,
        content_encoding=incoming.content_encoding,
        priority=incoming.priority,
        app_id=incoming.app_id,
    )


def _outgoing(message: Message) -> aio_pika.Message:
    """Persistent always: the library's default would not survive a restart of RabbitMQ."""
    return aio_pika.Message(
        message.body,
        headers=dict(message.headers),
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        priority=message.priority,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        type=message.type,
        timestamp=message.timestamp or time.time(),
        app_id=message.app_id or f"{PRODUCT} {VERSION}",
    )
