"""One connection to RabbitMQ as a caller has it: jobs out, replies in, on one channel, as direct reply-to demands.

A reply queue of one's own outlives the connection: RabbitMQ names it, keeps it for some minutes after its caller
went, and what comes meanwhile is there for the next connection. A direct reply-to dies with its channel. Nothing
is repaired: whatever breaks the channel ends the `Caller`, and supervisor.py opens another.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity
from aiormq import Channel
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelAccessRefused
from pamqp.common import FieldValue

from consumer.client.exceptions import JobTooLargeError
from consumer.config.credentials import Credentials
from consumer.errors import ConfigurationError, ConnectionLostError
from consumer.rabbitmq.codec import BrokerLimits, received
from consumer.rabbitmq.confirmed_publish import PublishFault, publish_confirmed, underlay_of
from consumer.rabbitmq.connection import (
    CALL_TIMEOUT_S,
    CLOSE_TIMEOUT_S,
    CONFIRM_TIMEOUT_S,
    NO_FILES,
    connection,
    may_be_lost,
    refusal_explained,
    throwaway_channel,
)
from consumer.rabbitmq.connection_scope import Lifetime, Waiting
from consumer.wire.message import Message

#: The name that RabbitMQ turns into an address of the channel that consumes from it.
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"
#: How long RabbitMQ keeps a reply queue that nobody reads. Longer outages cost a second run, not a reply.
REPLIES_KEPT_S = 300
#: Between attempts to publish to a jobs queue that is full.
FULL_PAUSE_S = 0.2

OnMessage = Callable[[Message], None]


class RpcConnection(Protocol):
    """What a client needs of a connection.

    `reply_to` is where replies reach it. `mailbox` is the same for two lines if a reply to what was published by
    the one arrives at the other. `ended` is done, with the reason, when it is lost.
    """

    reply_to: str
    mailbox: object

    @property
    def ended(self) -> asyncio.Future[str]:
        """Done when this is lost."""

    async def publish(self, message: Message, queue: str) -> None:
        """Return once RabbitMQ has the message."""

    async def lost(self) -> str:
        """Wait until it is of no use any more; return what happened."""


@dataclass
class Address:
    """Where replies go, and by which exchange jobs do ("": the default one), over all connections.

    Mutable state: `queue`, once RabbitMQ has named one of our own; `limits`, what it takes; `callers`, how many
    there have been.
    """

    is_direct: bool
    exchange: str = ""
    callers: int = 0
    queue: str | None = None
    limits: BrokerLimits = field(default_factory=BrokerLimits)


class Caller:
    """An open channel with a consumer of replies. `lifetime` ends with the first sign that it is of no use."""

    def __init__(
        self, channel: AbstractChannel, underlay: Channel, address: Address, on_message: OnMessage
    ) -> None:
        self.reply_to = DIRECT_REPLY_TO if address.queue is None else address.queue
        self.mailbox: object = address.queue or object()
        self.lifetime = Lifetime()
        self._channel = channel  # the underlay's tells of its end only while this is there
        self._underlay = underlay
        self._address = address
        self._on_message = on_message
        self._tag = f"replies.{secrets.token_hex(6)}"
        channel.close_callbacks.add(self._closed)

    @property
    def ended(self) -> asyncio.Future[str]:
        """Done, with the reason, when this is lost."""
        return self.lifetime.ended

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, address: Address, on_message: OnMessage, credentials: Credentials = NO_FILES
    ) -> AsyncIterator[Caller]:
        """Connect, and make ready for replies. What is left unread at the end stays for the next connection.

        Raises:
            BrokerUnreachableError, BrokerRefusedError, ConfigurationError, ConnectionLostError
        """
        async with connection(url, "client", credentials) as opened:
            if address.exchange:
                await _see_exchange(opened, address.exchange)
            with may_be_lost(), refusal_explained("make a reply queue"):
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    if address.queue and not await _is_kept(opened, address.queue):
                        address.queue = None
                    channel = await opened.channel(publisher_confirms=True, on_return_raises=True)
                    underlay = await underlay_of(channel)
                    if not (address.is_direct or address.queue):
                        address.queue = await _new_queue(underlay)
                    caller = cls(channel, underlay, address, on_message)
                    await caller._listen()
            yield caller

    async def _listen(self) -> None:
        self._underlay.on_consumer_cancel_callbacks.add(
            lambda _: self.lifetime.end("RabbitMQ cancelled the consumer of replies (was the queue deleted?)")
        )
        self._address.callers += 1
        # RabbitMQ may not have seen yet that the caller before this one is gone: the latest comes first.
        priority: dict[str, FieldValue] = {} if self._address.is_direct else {"x-priority": self._address.callers}
        await self._underlay.basic_consume(
            self.reply_to,
            self._on_delivery,
            no_ack=self._address.is_direct,
            arguments=priority,
            consumer_tag=self._tag,
        )

    async def _on_delivery(self, delivered: DeliveredMessage) -> None:
        """Hand it over, and only then ack: what a lost connection had on its way comes again."""
        self._on_message(received(delivered.header.properties, delivered.body))
        if not self._address.is_direct:
            with suppress(ConnectionLostError), self.lifetime.ends_if_lost():
                await self._underlay.basic_ack(delivered.delivery_tag or 0, wait=False)

    async def publish(self, message: Message, queue: str) -> None:
        """Publish, and return once RabbitMQ has the message. To a full queue it is published until there is room.

        Raises:
            ConnectionLostError: RabbitMQ may or may not have it.
            ConfigurationError: there is no such queue, or RabbitMQ takes no message of that size.
        """
        while True:
            fault = await self._publish_once(message, queue)
            if fault is None:
                return
            if fault is PublishFault.NO_QUEUE:
                raise ConfigurationError(
                    f"there is no queue {queue!r}; start a consumer with the same prefix first"
                )
            # Full, overflow reject-publish: waiting is the back-pressure that it asks for.
            await asyncio.sleep(FULL_PAUSE_S)

    async def _publish_once(self, message: Message, queue: str) -> PublishFault | None:
        limits = self._address.limits
        try:
            if not limits.refuses(message):
                with self.lifetime.ends_if_lost(), limits.learned(), Waiting(self.lifetime):
                    async with asyncio.timeout(CONFIRM_TIMEOUT_S):
                        return await publish_confirmed(
                            self._underlay, message, queue, exchange=self._address.exchange
                        )
        except ConnectionLostError:
            # RabbitMQ closes the channel over it, and with it all other publishes: those are tried again.
            if not limits.refuses(message):
                raise
        raise JobTooLargeError(
            f"RabbitMQ takes no job of this size ({len(message.body)} bytes, at most {limits.max_message_bytes}); "
            "send less, or raise its max_message_size"
        )

    async def lost(self) -> str:
        """Wait until the channel is closed; return why."""
        return await asyncio.shield(self.lifetime.ended)

    async def forget(self) -> None:
        """Delete the reply queue: who waits no more wants nothing kept."""
        if self._address.queue and not self.lifetime.ended.done():
            with suppress(TimeoutError, *CONNECTION_EXCEPTIONS):
                await self._underlay.basic_cancel(self._tag, timeout=CLOSE_TIMEOUT_S)
                await self._underlay.queue_delete(self._address.queue, timeout=CLOSE_TIMEOUT_S)

    def _closed(self, _channel: object, error: BaseException | None) -> None:
        if isinstance(error, asyncio.CancelledError):
            self.lifetime.end("the connection to RabbitMQ went silent")
        else:
            self.lifetime.end(f"the connection to RabbitMQ was closed: {str(error) or type(error).__name__}")


async def _see_exchange(opened: AbstractConnection, name: str) -> None:
    """A publish to one that is not there would close the channel, and look like a lost connection for ever.

    Raises:
        ConfigurationError
    """
    async with throwaway_channel(opened) as channel:
        try:
            await channel.declare_exchange(name, passive=True, timeout=CALL_TIMEOUT_S)
        except ChannelNotFoundEntity:
            raise ConfigurationError(f"there is no exchange {name!r}; declare it before clients use it") from None
        except ChannelAccessRefused:  # 4.2.6 and 4.3.0 want the right to configure for a mere look
            return


async def _is_kept(opened: AbstractConnection, queue: str) -> bool:
    """Whether a reply queue of an earlier connection is there. One that is not closes the channel."""
    async with throwaway_channel(opened) as channel:
        try:
            await channel.declare_queue(queue, passive=True, timeout=CALL_TIMEOUT_S)
        except ChannelNotFoundEntity:  # kept no longer, or with a node that is away
            return False
    return True


async def _new_queue(channel: Channel) -> str:
    declared = await channel.queue_declare("", durable=True, arguments={"x-expires": REPLIES_KEPT_S * 1000})
    return str(declared.queue)
