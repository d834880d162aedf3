"""One connection of a client: publishes jobs and receives replies on one channel, as direct reply-to requires.

A reply queue outlives the connection: RabbitMQ keeps it for some minutes after the client has disconnected, so
that the next connection receives the replies that arrived meanwhile. A direct reply-to address disappears with its
channel. Nothing is repaired: a fault of the channel ends the `Caller`, and supervisor.py opens another.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity
from aiormq import Channel
from aiormq.abc import DeliveredMessage
from pamqp.common import FieldValue

from consumer.client.exceptions import JobTooLargeError
from consumer.client.ownership import Owner
from consumer.config.credentials import Credentials
from consumer.errors import ConfigurationError, ConnectionLostError
from consumer.rabbitmq.admin import count_consumers
from consumer.rabbitmq.codec import BrokerLimits, received
from consumer.rabbitmq.confirms import Confirms, PublishFault, underlay_of
from consumer.rabbitmq.connection import (
    CALL_TIMEOUT_S,
    CLOSE_TIMEOUT_S,
    connection,
    may_be_lost,
    refusal_explained,
    throwaway_channel,
)
from consumer.rabbitmq.connection_scope import Lifetime, Waiting
from consumer.wire.message import Message
from consumer.wire.reply_address import DIRECT_REPLY_TO
from consumer.wording import counted

#: How long RabbitMQ keeps a reply queue without a reader. A longer outage costs a second run, but no reply.
REPLIES_KEPT_S = 300
#: How long RabbitMQ keeps a reply queue with which another process may continue.
RESUMABLE_S = 86_400
#: The pause between attempts to publish to a full jobs queue.
FULL_PAUSE_S = 0.2

#: Passes on a message. Returns a future of whether the request has taken it; None if no request waits for it.
OnMessage = Callable[[Message], asyncio.Future[bool] | None]


@dataclass
class Address:
    """The address for replies; all connections share it.

    `is_resumable`: another process may continue with the queue. Then RabbitMQ keeps it for a day, with the replies
    for which no request waits.
    Mutable state: `queue`, the name of the reply queue, None until RabbitMQ has chosen it; `is_needed`, whether it
    stays after the last connection; `limits`, RabbitMQ's limits; `callers`, the number of connections so far.
    """

    is_direct: bool
    is_resumable: bool = False
    is_needed: bool = False
    callers: int = 0
    queue: str | None = None
    limits: BrokerLimits = field(default_factory=BrokerLimits)


class Caller:
    """An open channel that publishes jobs and consumes replies. `lifetime` ends at the first sign of a fault.

    Replies arrive at `reply_to`. Two callers have the same `mailbox` if the second receives the replies to jobs
    that the first published.
    """

    def __init__(
        self,
        opened: AbstractConnection,
        channel: AbstractChannel,
        underlay: Channel,
        address: Address,
        on_message: OnMessage,
    ) -> None:
        self.reply_to = DIRECT_REPLY_TO if address.queue is None else address.queue
        self.mailbox: object = address.queue or object()
        self.lifetime = Lifetime()
        self._connection = opened
        self._channel = channel  # kept, because its close callbacks end with it
        self._underlay = underlay
        self._address = address
        self._on_message = on_message
        self._tag = f"replies.{secrets.token_hex(6)}"
        self._confirms = Confirms(opened, self.lifetime.end, _waiting)
        channel.close_callbacks.add(self._closed)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, address: Address, on_message: OnMessage, credentials: Credentials
    ) -> AsyncIterator[Caller]:
        """Connect, and start to consume replies. RabbitMQ keeps unread replies for the next connection.

        If the block is cancelled, no other connection will follow: unless `address.is_needed`, the reply queue is
        deleted.

        Raises:
            BrokerUnreachableError, BrokerRefusedError, ConfigurationError, ConnectionLostError
        """
        owner = Owner()
        async with connection(url, "client", credentials) as opened:
            with may_be_lost(), refusal_explained("create a reply queue"):
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    if address.queue and not await _is_kept(opened, address.queue):
                        address.queue = None
                    channel = await opened.channel(publisher_confirms=True, on_return_raises=True)
                    underlay = await underlay_of(channel)
                    if not (address.is_direct or address.queue):
                        address.queue = await _new_queue(
                            underlay, RESUMABLE_S if address.is_resumable else REPLIES_KEPT_S
                        )
                    caller = cls(opened, channel, underlay, address, on_message)
                    await caller._listen()
            try:
                yield caller
            except asyncio.CancelledError:
                if owner.is_here:  # a fork must not delete its parent's reply queue
                    await caller.forget()
                raise

    async def _listen(self) -> None:
        self._underlay.on_consumer_cancel_callbacks.add(
            lambda _: self.lifetime.end("RabbitMQ cancelled the consumer of replies (was the queue deleted?)")
        )
        self._address.callers += 1
        # RabbitMQ may not have noticed yet that the last connection is lost: so the newest consumer has priority.
        priority: dict[str, FieldValue] = {} if self._address.is_direct else {"x-priority": self._address.callers}
        await self._underlay.basic_consume(
            self.reply_to,
            self._on_delivery,
            no_ack=self._address.is_direct,
            arguments=priority,
            consumer_tag=self._tag,
        )

    async def _on_delivery(self, delivered: DeliveredMessage) -> None:
        """Pass on the reply, and ack it once its caller has it. RabbitMQ redelivers what was not acked."""
        taking = self._on_message(received(delivered.header.properties, delivered.body))
        if self._address.is_direct:
            return
        is_taken = taking is not None and await asyncio.shield(taking)
        if is_taken or not self._address.is_resumable:
            with suppress(ConnectionLostError), self.lifetime.ends_if_lost():
                await self._underlay.basic_ack(delivered.delivery_tag or 0, wait=False)

    async def publish(self, message: Message, queue: str) -> None:
        """Publish, and return when RabbitMQ has confirmed. If the queue is full, retry until it has space.

        Raises:
            ConnectionLostError: RabbitMQ may or may not have the message.
            ConfigurationError: the queue does not exist, or RabbitMQ accepts no message of that size.
        """
        while True:
            fault = await self._publish_once(message, queue)
            if fault is None:
                return
            if fault is PublishFault.NO_QUEUE:
                raise ConfigurationError(
                    f"there is no queue {queue!r}; start a consumer with the same prefix first"
                )
            # The queue is full (overflow reject-publish) and asks for back-pressure.
            await asyncio.sleep(FULL_PAUSE_S)

    async def _publish_once(self, message: Message, queue: str) -> PublishFault | None:
        limits = self._address.limits
        try:
            if not limits.refuses(message):
                with self.lifetime.ends_if_lost(), limits.learned(), Waiting(self.lifetime):
                    return await self._confirms.publish(self._underlay, message, queue)
        except ConnectionLostError:
            # RabbitMQ closes the channel because of one message that is too large; the client retries all others.
            if not limits.refuses(message):
                raise
        raise JobTooLargeError(
            f"RabbitMQ refuses a job of this size ({len(message.body)} bytes, "
            f"at most {limits.max_message_bytes}); send less, or raise its max_message_size"
        )

    async def count_consumers(self, queue: str) -> int | None:
        """Return how many consumers a queue has; None if it does not exist, or RabbitMQ refuses to answer.

        Raises:
            ConnectionLostError
        """
        return await count_consumers(self._connection, queue)

    async def is_blocked(self) -> bool:
        """Return whether RabbitMQ is known to have an alarm; see `Confirms.is_blocked`."""
        return await self._confirms.is_blocked()

    async def lost(self) -> str:
        """Wait until the channel is closed, or a confirm is overdue without an alarm; return the reason."""
        return await self._confirms.run_until(self.lifetime.ended)

    async def forget(self) -> None:
        """Delete the reply queue, because no caller waits for a reply any more."""
        if self._address.queue and not (self._address.is_needed or self.lifetime.ended.done()):
            with suppress(TimeoutError, *CONNECTION_EXCEPTIONS):
                await self._underlay.basic_cancel(self._tag, timeout=CLOSE_TIMEOUT_S)
                await self._underlay.queue_delete(self._address.queue, timeout=CLOSE_TIMEOUT_S)

    def _closed(self, _channel: object, error: BaseException | None) -> None:
        if isinstance(error, asyncio.CancelledError):
            self.lifetime.end("the connection to RabbitMQ went silent")
        else:
            self.lifetime.end(f"the connection to RabbitMQ was closed: {str(error) or type(error).__name__}")


def _waiting(unconfirmed: int) -> str:
    return f"waiting for it to accept {counted(unconfirmed, 'job')}"


async def _is_kept(opened: AbstractConnection, queue: str) -> bool:
    """Return whether the reply queue of an earlier connection still exists."""
    async with throwaway_channel(opened) as channel:
        try:
            await channel.declare_queue(queue, passive=True, timeout=CALL_TIMEOUT_S)
        except ChannelNotFoundEntity:  # it has expired, or its node is down
            return False
    return True


async def _new_queue(channel: Channel, kept_s: int) -> str:
    declared = await channel.queue_declare("", durable=True, arguments={"x-expires": kept_s * 1000})
    return str(declared.queue)
