"""One connection session with RabbitMQ: receives deliveries (delivery.py) until a connection is lost.

A session uses two connections: one reads and acks, the other publishes (publisher.py). During an alarm RabbitMQ
stops reading from every connection that has published, and so would not read acks there. A session repairs
nothing: a fault of one connection ends the whole `Session` with all its deliveries, and RabbitMQ redelivers
unsettled messages. Every call has a timeout, except the wait for a confirm during an alarm.

Calls made once per session use aio-pika. Calls made for each job use its underlying aiormq channel: of the 670 us
of CPU per job, aio-pika's message objects took 60, and waiting for the socket another 140.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import Any, ParamSpec, Self

from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.common import FieldValue

from consumer.config.credentials import Credentials
from consumer.rabbitmq import pamqp_patch
from consumer.rabbitmq.admin import Admin
from consumer.rabbitmq.codec import BrokerLimits, received
from consumer.rabbitmq.confirms import underlay_of
from consumer.rabbitmq.connection import (
    CALL_TIMEOUT_S,
    NO_FILES,
    NOTHING_MORE,
    connection,
    may_be_lost,
    refusal_explained,
)
from consumer.rabbitmq.connection_scope import Lifetime
from consumer.rabbitmq.delivery import Delivery
from consumer.rabbitmq.publisher import Publisher

#: How many cancelled consumers still accept late deliveries.
KEPT_CANCELLED = 16
#: While so many acks are not yet on disk, a channel in RabbitMQ holds back further acks of a quorum queue (the
#: default of its `quorum_commands_soft_limit`).
UNWRITTEN_ACKS = 32
#: Time for the first acks to be on disk. After 64 acks in a row, the channel lost up to 31 in 22 of 40 trials if
#: it closed at once, in 8 after one more call, and in none after 20 ms (RabbitMQ 3.10.8, a local disk).
ACKS_WRITTEN_S = 0.1

P = ParamSpec("P")


def _uncancelled(call: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, Coroutine[Any, Any, None]]:
    """Decorate a call so that it continues if its caller is cancelled.

    Otherwise aiormq would close the channel.
    """

    @wraps(call)
    async def shielded(*args: P.args, **kwargs: P.kwargs) -> None:
        await asyncio.shield(asyncio.create_task(call(*args, **kwargs)))

    return shielded


class Session:
    """Two open connections, and `inbox`, the queue of received deliveries.

    `lifetime` ends at the first sign that one connection no longer works. `publisher` publishes; `admin` declares
    and finds exchanges and queues.

    Mutable state: `received`, the number of deliveries so far; `_consumers`, the queue of each consumer by its
    tag; `_is_stopping`, set when no consumer may be added; `_changing`, held while a consumer is added or
    cancelled; `_cancelled`, the tags of the consumers that were cancelled last.
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
        self._changing = asyncio.Lock()
        self._cancelled: deque[str] = deque()
        self.received = 0
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
        """Open both connections for the block.

        Args:
            url: an AMQP URL.
            name: shown in the management console after `read` or `write`.
            limits: the limits that earlier sessions learned; this session adds to them.
            credentials: files for TLS and the login.
            about: client properties, shown in the management console.

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
            session = cls(reader, writer, read, write, limits or BrokerLimits())
            try:
                yield session
            finally:
                await session.publisher.finish()

    @_uncancelled
    async def consume(
        self, queue: str, *, prefetch: int, tag: str, arguments: Mapping[str, FieldValue] = NOTHING_MORE
    ) -> None:
        """Start to consume into the inbox. Does nothing after `stop_consuming`.

        Args:
            queue: the queue to consume from.
            prefetch: the maximum number of unsettled deliveries.
            tag: the consumer's name in the management console.
            arguments: the consumer's arguments, such as the offset in a stream. The management console shows them
                next to the tag. RabbitMQ ignores unknown ones.

        Raises:
            BrokerRefusedError: the queue does not exist, or this user may not read it.
            ConnectionLostError
        """
        with may_be_lost(), refusal_explained(f"consume {queue}"):
            async with asyncio.timeout(CALL_TIMEOUT_S), self._changing:
                if self._is_stopping:
                    return
                self._consumers[tag] = queue  # before the calls, so that a stop during them cancels it, too
                channel = await self._read.get_underlay_channel()
                await self._read.set_qos(prefetch_count=prefetch)  # applies to consumers that start after it
                channel.on_consumer_cancel_callbacks.add(self._on_cancel)
                await channel.basic_consume(queue, self._on_message, consumer_tag=tag, arguments=dict(arguments))

    def _on_cancel(self, cancel: Basic.Cancel) -> None:
        queue = self._consumers.get(cancel.consumer_tag or "", "a queue")
        self.lifetime.end(f"RabbitMQ cancelled the consumer of {queue} (was the queue deleted?)")

    async def _on_message(self, delivered: DeliveredMessage) -> None:
        """Put the delivery into the inbox and return: aiormq cancels this task with the channel."""
        tag = delivered.delivery_tag or 0  # every delivery has one; only a returned message has none
        self.received = tag
        message = received(delivered.header.properties, delivered.body)
        delivery = Delivery(
            message,
            self.publisher,
            self.admin,
            self.lifetime,
            delivered.channel,
            tag,
            bool(delivered.redelivered),
            delivered.consumer_tag or "",
        )
        self.inbox.put_nowait(delivery)

    @_uncancelled
    async def cancel(self, tag: str) -> None:
        """Cancel one consumer. Deliveries received before this returns can still be settled.

        Raises:
            ConnectionLostError
        """
        with may_be_lost():
            async with asyncio.timeout(CALL_TIMEOUT_S), self._changing:
                channel = await underlay_of(self._read)
                await channel.basic_cancel(tag)
                self._consumers.pop(tag, None)
                # A quorum queue's leader may have sent deliveries that RabbitMQ passes on after its answer. aiormq
                # would drop them, and their jobs would wait for the end of the connection.
                channel.consumers[tag] = self._on_message
                self._cancelled.append(tag)
                if len(self._cancelled) > KEPT_CANCELLED:
                    channel.consumers.pop(self._cancelled.popleft(), None)

    async def stop_consuming(self) -> None:
        """Cancel all consumers. A few deliveries may still arrive; all received ones can be settled."""
        self._is_stopping = True
        for tag in list(self._consumers):
            await self.cancel(tag)

    async def flush(self) -> None:
        """Wait until RabbitMQ has processed all settlements.

        RabbitMQ handles the calls on a channel in order, so this waits for the answer to one more call.

        If `UNWRITTEN_ACKS` are not yet on disk, its channel holds back further acks of a quorum queue, and forgets
        them when it closes. RabbitMQ does not tell when the queue has them, so `flush` waits for a fixed time.

        Raises:
            ConnectionLostError: the connection was lost, or RabbitMQ did not answer in time.
        """
        with may_be_lost():
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self._read.set_qos(prefetch_count=1)
        if self.received >= UNWRITTEN_ACKS:
            await asyncio.sleep(ACKS_WRITTEN_S)

    async def lost(self) -> str:
        """Wait until a connection is lost; return the reason."""
        if self._read.is_closed or self._write.is_closed:
            self.lifetime.end("the connection was closed while it was opened")
        return await self.publisher.watch_confirms(self.lifetime.ended)

    def _cannot_publish(self, channel: object, error: BaseException | None) -> None:
        self._closed("the connection that publishes", channel, error)
        self.publisher.lifetime.end(self.lifetime.ended.result())

    def _closed(self, what: str, _channel: object, error: BaseException | None) -> None:
        """End the lifetime because a channel was closed. The reason contains RabbitMQ's reason, if any."""
        if isinstance(error, asyncio.CancelledError):
            self.lifetime.end(f"{what} has timed out (no heartbeat)")
        else:
            self.lifetime.end(f"{what} was closed: {str(error) or type(error).__name__}")
