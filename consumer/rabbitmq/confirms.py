"""Publishes with publisher confirms, and limits the waits for confirms, except during an alarm, which it logs.

No other module calls basic.publish. During a memory or disk alarm RabbitMQ reads nothing from a connection that
has published, so no confirm arrives. That is no fault of the connection: a second one would have to wait, too, and
RabbitMQ would accept the messages of both after the alarm. Repeats nothing, and closes nothing: the owner of the
connection does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum
from typing import Any

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import DeliveryError, PublishError
from aiormq import Channel as UnderlayChannel

from consumer.rabbitmq.codec import properties
from consumer.rabbitmq.connection import CONFIRM_TIMEOUT_S
from consumer.wire.message import Message

log = logging.getLogger(__name__)

#: The interval of checks for overdue confirms and for an alarm, in seconds.
WATCH_S = 1.0
#: Says what an alarm is, for a log line or an error message.
ALARM = "RabbitMQ accepts no messages: a memory or disk alarm (`rabbitmq-diagnostics alarms` names the node)"


class PublishFault(Enum):
    """Why RabbitMQ does not have a message."""

    #: basic.return: RabbitMQ can route the mandatory message to no queue.
    NO_QUEUE = "no queue"
    #: basic.nack: the queue is full (overflow reject-publish), or has lost its leader.
    REFUSED = "refused"


async def underlay_of(channel: AbstractChannel) -> UnderlayChannel:
    """Return the underlying channel of aiormq, which has methods that aio-pika's lacks."""
    underlay = await channel.get_underlay_channel()
    if not isinstance(underlay, UnderlayChannel):
        raise TypeError(f"{underlay!r} is not a channel of aiormq")
    return underlay


async def publish_confirmed(
    channel: UnderlayChannel,
    message: Message,
    routing_key: str,
    *,
    mandatory: bool = True,
) -> PublishFault | None:
    """Publish a message; return None after RabbitMQ's confirm, otherwise the fault.

    It does not also wait for the write to the socket, because a confirm implies the write. Without a confirm it
    waits until the channel is closed, so the caller must limit the wait.

    Raises:
        aiormq.exceptions.ChannelPreconditionFailed: the message exceeds RabbitMQ's max_message_size, and RabbitMQ
            has closed the channel.
    """
    try:
        await channel.basic_publish(
            message.body,
            routing_key=routing_key,
            properties=properties(message),
            mandatory=mandatory,
            wait=False,
        )
    except PublishError:
        return PublishFault.NO_QUEUE
    except DeliveryError:
        return PublishFault.REFUSED
    return None


class Confirms:
    """Publishes on one connection, and watches for overdue confirms.

    `idle` is set while no confirm is pending.
    Mutable state: `_unconfirmed`, the start of each wait for a confirm, the oldest first; its key is the timeout
    that can end the wait, or a plain object if the message must not be given up.
    """

    def __init__(
        self, connection: AbstractConnection, on_overdue: Callable[[str], None], effect: Callable[[int], str]
    ) -> None:
        """Watch nothing yet; `run_until` does.

        Args:
            connection: the connection that publishes.
            on_overdue: called with the reason when a message that must not be given up was not confirmed in time.
            effect: describes what an alarm means for so many messages without a confirm.
        """
        self._connection = connection
        self._on_overdue = on_overdue
        self._effect = effect
        self._unconfirmed: dict[asyncio.Timeout | object, float] = {}
        self.idle = asyncio.Event()
        self.idle.set()

    async def publish(
        self,
        channel: UnderlayChannel,
        message: Message,
        queue: str,
        *,
        mandatory: bool = True,
        expiry: asyncio.Timeout | None = None,
    ) -> PublishFault | None:
        """Publish and return RabbitMQ's answer, as `publish_confirmed`.

        `expiry` is the caller's timeout, which expires if the confirm is overdue. Without it, `on_overdue` is
        called then.
        """
        key = expiry or object()
        self._unconfirmed[key] = asyncio.get_running_loop().time()
        self.idle.clear()
        try:
            return await publish_confirmed(channel, message, queue, mandatory=mandatory)
        finally:
            del self._unconfirmed[key]
            if not self._unconfirmed:
                self.idle.set()

    async def run_until(self, ended: asyncio.Future[str]) -> str:
        """Watch until the future is done; return its result."""
        watch = asyncio.create_task(self._watch(), name="watch confirms")
        ends: set[asyncio.Future[Any]] = {watch, ended}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
        if not ended.done():
            watch.result()  # raises: only a bug ends this task
        return await ended

    async def _watch(self) -> None:
        """Report overdue confirms, except during an alarm, when RabbitMQ does not confirm."""
        blocked_at: float | None = None
        held_until = 0.0
        while True:
            if blocked_at is None:
                await asyncio.sleep(WATCH_S)
            else:  # log the end of the alarm before the confirms that follow it
                await self._is_ready(within_s=WATCH_S)
            now = asyncio.get_running_loop().time()
            oldest = next(iter(self._unconfirmed.values()), now)
            if await self.is_blocked():
                held_until = now
                if blocked_at is None and now - oldest >= WATCH_S:
                    blocked_at = now
                    log.warning(
                        "%s; %s",
                        ALARM,
                        self._effect(len(self._unconfirmed)),
                        extra={"event": "publishing_blocked"},
                    )
                continue
            if blocked_at is not None:
                log.info(
                    "RabbitMQ accepts messages again after %.0f s",
                    now - blocked_at,
                    extra={"event": "publishing_unblocked"},
                )
                blocked_at = None
            if now - max(oldest, held_until) > CONFIRM_TIMEOUT_S:
                self._end_overdue(now, held_until)

    def _end_overdue(self, now: float, held_since: float) -> None:
        """Give up the messages that may be given up; report any other."""
        overdue = [
            expiry
            for expiry, since in self._unconfirmed.items()
            if now - max(since, held_since) > CONFIRM_TIMEOUT_S
        ]
        for expiry in overdue:
            if isinstance(expiry, asyncio.Timeout) and not expiry.expired():
                expiry.reschedule(now)
        if not all(isinstance(expiry, asyncio.Timeout) for expiry in overdue):
            self._on_overdue(f"RabbitMQ has not confirmed a message for {CONFIRM_TIMEOUT_S:g} s")

    async def is_blocked(self) -> bool:
        """Return whether RabbitMQ has sent `connection.blocked`.

        RabbitMQ announces an alarm only after the first message that is published during the alarm.
        """
        return not await self._is_ready(within_s=0)

    async def _is_ready(self, *, within_s: float) -> bool:
        """Wait until the connection is not blocked, for so many seconds; return whether it is so."""
        if (transport := self._connection.transport) is None:
            return True
        ready = asyncio.ensure_future(transport.ready())
        try:
            done, _ = await asyncio.wait({ready}, timeout=within_s)
        finally:
            ready.cancel()
        return bool(done)
