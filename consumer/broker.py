"""The service's side of RabbitMQ: queues declared, deliveries in, publishes confirmed, messages settled.

Two connections: one reads and acks, one publishes, because a RabbitMQ with an alarm stops reading every
connection that has published, acks included. Nothing is repaired here: whatever breaks a connection ends the
whole `Broker`, with all deliveries that came by it, and RabbitMQ delivers again what was not settled. No call
waits longer than its timeout, but for a confirm that an alarm holds back.

What is done once goes through aio-pika, what is done for each job through the channel of aiormq below it: of
the 670 us of CPU that a job took, aio-pika's message objects were 60, and waiting for the socket 140 more.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError, PublishError
from aiormq import Channel as UnderlayChannel
from aiormq.abc import AbstractChannel as AbstractUnderlayChannel
from aiormq.abc import DeliveredMessage

from consumer.connection import (
    CALL_TIMEOUT_S,
    CONFIRM_TIMEOUT_S,
    connection,
    may_be_lost,
    refusal_explained,
)
from consumer.lifetime import Lifetime, Waiting
from consumer.messages import DIRECT_REPLY_PREFIX, Message, MessageTooLargeError
from consumer.properties import Limits, properties, received
from consumer.topology import Topology

log = logging.getLogger(__name__)

#: A queue that refuses a message (full, overflow reject-publish) may have room soon; then we give the reply up.
REFUSAL_PATIENCE_S = 30.0
#: How often confirms that do not come are looked for.
WATCH_S = 1.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as RabbitMQ handed it over, answered and settled by the `broker` that it came by, or not at all.

    When that is lost, all here raise ConnectionLostError, and RabbitMQ delivers the message again.
    `tag` means nothing on any other channel: they all count from 1. `redelivered`: somebody had it before.
    """

    message: Message
    broker: Broker
    channel: AbstractUnderlayChannel
    tag: int
    redelivered: bool

    async def publish(self, message: Message, queue: str) -> str | None:
        """Publish what answers the message: see `Broker.publish`."""
        return await self.broker.publish(message, queue)

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


class Broker:
    """Two open connections, and what arrives by the one: `inbox` holds deliveries that nobody has taken yet.

    `lifetime` ends with the first sign that this Broker is of no use any more.
    Mutable state: `_unconfirmed`, since when each message waits for its confirm, the oldest first.
    """

    def __init__(
        self,
        reader: AbstractConnection,
        writer: AbstractConnection,
        read: AbstractChannel,
        write: AbstractChannel,
        limits: Limits,
    ) -> None:
        self.inbox: asyncio.Queue[Delivery] = asyncio.Queue()
        self._reader = reader
        self._writer = writer
        self._read = read
        self._write = write
        self._limits = limits
        self.lifetime = Lifetime()
        self._unconfirmed: dict[object, float] = {}
        self._cancel: Any = None
        read.close_callbacks.add(partial(self._closed, "the connection that reads jobs"))
        write.close_callbacks.add(partial(self._closed, "the connection that publishes"))

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, name: str, limits: Limits | None = None) -> AsyncIterator[Self]:
        """Connect twice; close both at the end, whatever happened.

        Args:
            url: an AMQP URL.
            name: shown in the management console behind what each connection is for.
            limits: what a Broker before this one has learned, and a later one shall know.

        Raises:
            BrokerUnreachableError, BrokerRefusedError
        """
        async with connection(url, f"read {name}") as reader, connection(url, f"write {name}") as writer:
            with may_be_lost():
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    read = await reader.channel(publisher_confirms=False)
                    write = await writer.channel(publisher_confirms=True, on_return_raises=True)
            yield cls(reader, writer, read, write, limits or Limits())

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
            await channel.declare_exchange(topology.dead_letter_exchange, passive=True, timeout=CALL_TIMEOUT_S)
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
                channel.on_consumer_cancel_callbacks.add(
                    lambda _: self.lifetime.end(
                        f"RabbitMQ cancelled the consumer of {queue} (was the queue deleted?)"
                    )
                )
                await channel.basic_consume(queue, self._on_message, consumer_tag=tag)
        self._cancel = lambda: channel.basic_cancel(tag)

    async def _on_message(self, delivered: DeliveredMessage) -> None:
        """Nothing else here: this task dies with the channel, a job must not."""
        tag = delivered.delivery_tag or 0  # a delivery has one; only what was returned to a publisher has none
        message = received(delivered.header.properties, delivered.body)
        self.inbox.put_nowait(Delivery(message, self, delivered.channel, tag, bool(delivered.redelivered)))

    async def stop_consuming(self) -> None:
        """No delivery arrives after this returns; what has arrived can still be settled."""
        if self._cancel:
            with may_be_lost():
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    await self._cancel()

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
        watch = asyncio.create_task(self._watch_confirms(), name="watch confirms")
        ends: set[asyncio.Future[Any]] = {watch, self.lifetime.ended}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
        if not self.lifetime.ended.done():
            watch.result()  # raises: it ends by a bug only
        return await self.lifetime.ended

    def _closed(self, what: str, _channel: object, error: BaseException | None) -> None:
        """Take note of a closed channel. With RabbitMQ's own words, where it said any."""
        if isinstance(error, asyncio.CancelledError):
            self.lifetime.end(f"{what} went silent")
        else:
            self.lifetime.end(f"{what} was closed: {str(error) or type(error).__name__}")

    async def _watch_confirms(self) -> None:
        """Find a confirm that does not come. While an alarm lasts, RabbitMQ reads nothing and owes none."""
        held_since: float | None = None
        while True:
            await asyncio.sleep(WATCH_S)
            now = asyncio.get_running_loop().time()
            oldest = next(iter(self._unconfirmed.values()), now)
            if now - oldest < WATCH_S:
                held_since = None
            elif await self._is_blocked():
                if held_since is None:
                    log.warning("RabbitMQ holds what we publish (memory or disk alarm): replies wait, unacked")
                held_since = now
            elif now - max(oldest, held_since or oldest) > CONFIRM_TIMEOUT_S:
                self.lifetime.end(f"RabbitMQ has not confirmed a message for {CONFIRM_TIMEOUT_S:g} s")

    async def _is_blocked(self) -> bool:
        """Ask the one thing that aiormq tells about `connection.blocked`: whether one would have to wait."""
        if (transport := self._writer.transport) is None:
            return False
        ready = asyncio.ensure_future(transport.ready())
        done, _ = await asyncio.wait({ready}, timeout=0)
        ready.cancel()
        return not done

    async def publish(self, message: Message, queue: str) -> str | None:
        """Publish to a queue and wait until RabbitMQ has it.

        Returns:
            None, or why the queue did not get the message.

        Raises:
            ConnectionLostError: RabbitMQ may or may not have it. To be published again when the job comes again,
                not before: it will come, and be answered then.
            MessageTooLargeError: RabbitMQ takes no message of that size, whatever the queue.
        """
        if self._limits.refuses(message):
            raise MessageTooLargeError(len(message.body), self._limits.max_message_bytes)
        give_up = asyncio.get_running_loop().time() + REFUSAL_PATIENCE_S
        # Up to 4.1 RabbitMQ returns a mandatory message for a direct reply-to although it delivers it.
        mandatory = not queue.startswith(DIRECT_REPLY_PREFIX)
        while True:
            try:
                with self.lifetime.ends_if_lost(), self._limits.learned(), Waiting(self.lifetime):
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
        """Return when RabbitMQ confirms. Nobody waits for the socket besides: a confirm says more than a write.

        `_watch_confirms` bounds the wait.
        """
        channel = await self._write.get_underlay_channel()
        if not isinstance(channel, UnderlayChannel):
            raise TypeError(f"{channel!r} cannot publish without waiting for the socket")
        ticket = object()
        self._unconfirmed[ticket] = asyncio.get_running_loop().time()
        try:
            await channel.basic_publish(
                message.body,
                routing_key=queue,
                properties=properties(message),
                mandatory=mandatory,
                wait=False,
            )
        finally:
            del self._unconfirmed[ticket]

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
