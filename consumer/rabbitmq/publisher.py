"""Publishes a message and returns when RabbitMQ has confirmed or refused it.

The publisher has its own connection, because during an alarm RabbitMQ stops reading from every connection that has
published. It repeats a publish only after RabbitMQ has refused the message. `Confirms` limits its waits for
confirms.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from aio_pika.abc import AbstractChannel, AbstractConnection

from consumer.rabbitmq.codec import BrokerLimits
from consumer.rabbitmq.confirms import WATCH_S, Confirms, PublishFault, underlay_of
from consumer.rabbitmq.connection_scope import Lifetime, Waiting
from consumer.wire.message import Message, MessageTooLargeError
from consumer.wire.reply_address import DIRECT_REPLY_PREFIX

#: How long to retry a message that a queue refuses (full, overflow reject-publish): it may soon have space.
REFUSAL_PATIENCE_S = 30.0
#: If a channel publishes to a quorum queue without a leader, RabbitMQ may refuse its messages until the old
#: leader's node is up again, even after the election of a new leader (seen on 3.10.8). A new connection finds the
#: new leader. So the publisher ends the session when a queue has refused messages for this time, in seconds, which
#: is enough for an election. It does so only once until the queue accepts a message, because the queue may really
#: be full.
STALE_S = 3.0
#: How long to wait for pending confirms after the other connection was lost: each confirm saves a second reply.
FINISH_S = 1.0


class Publisher:
    """Publishes on its own connection.

    It depends on two lifetimes. When the session's lifetime has ended, it publishes nothing new. When its own,
    `lifetime`, has ended, no confirm arrives any more. A fault of its connection ends both.
    """

    def __init__(
        self, connection: AbstractConnection, channel: AbstractChannel, limits: BrokerLimits, broker: Lifetime
    ) -> None:
        self._channel = channel
        self._limits = limits
        self.lifetime = Lifetime()
        self._broker = broker
        self._confirms = Confirms(connection, self._end, lambda _unconfirmed: "replies wait, unacked")

    async def publish(
        self, message: Message, queue: str, *, is_patient: bool = True, expiry: asyncio.Timeout | None = None
    ) -> str | None:
        """Publish to a queue and wait for RabbitMQ's confirm.

        Args:
            message: the message.
            queue: the name of the queue.
            is_patient: whether to retry when the queue is already known to refuse messages.
            expiry: a timeout of the caller, which is made to expire if the confirm is overdue. Without it, an
                overdue confirm ends the session.

        Returns:
            None, or the reason why the queue did not get the message.

        Raises:
            ConnectionLostError: RabbitMQ may or may not have the message. Do not publish it again: the service
                will answer the redelivery of the job.
            MessageTooLargeError: RabbitMQ accepts no message of that size in any queue.
        """
        if self._limits.refuses(message):
            raise MessageTooLargeError(len(message.body), self._limits.max_message_bytes)
        if queue in self._limits.unreachable:
            return f"RabbitMQ cannot reach {queue!r}"
        began = asyncio.get_running_loop().time()
        # Up to 4.1 RabbitMQ returns a mandatory message to a direct reply-to address although it delivers it.
        is_direct = queue.startswith(DIRECT_REPLY_PREFIX)
        while True:
            fault = await self._publish_once(message, queue, mandatory=not is_direct, expiry=expiry)
            if fault is None:
                self._limits.refusing.discard(queue)
                return None
            if fault is PublishFault.NO_QUEUE:
                return f"there is no queue {queue!r}"
            refused_s = asyncio.get_running_loop().time() - began
            gives_up = not is_patient and queue in self._limits.refusing
            if refused_s > REFUSAL_PATIENCE_S or gives_up:
                return f"the queue {queue!r} refuses messages (is it full?)"
            if refused_s > STALE_S and queue not in self._limits.refusing:
                self._limits.refusing.add(queue)
                self._broker.end(f"RabbitMQ refuses messages to {queue}")
                self._broker.raise_if_ended()
            await asyncio.sleep(random.uniform(0, 1))  # noqa: S311 - jitter, not a secret

    async def publish_or_give_up(self, message: Message, queue: str) -> str | None:
        """Publish; if the confirm is overdue, give up the message and keep the session.

        If the queue did not confirm its last message, wait only `WATCH_S`: otherwise each failed job would wait
        for the whole timeout.

        Returns:
            None, or the reason why RabbitMQ may not have the message.

        Raises:
            ConnectionLostError, MessageTooLargeError: as `publish`.
        """
        try:
            async with asyncio.timeout(WATCH_S if queue in self._limits.silent else None) as expiry:
                fault = await self.publish(message, queue, expiry=expiry)
        except TimeoutError:
            self._limits.silent.add(queue)
            return f"RabbitMQ does not confirm messages to {queue!r}"
        self._limits.silent.discard(queue)
        return fault

    async def publish_at_most_once(self, message: Message, queue: str) -> None:
        """Publish a message that may be lost, without a retry.

        The call waits for the confirm, so that only one message waits during an alarm.

        Raises:
            ConnectionLostError: the connection was lost; the message is given up.
        """
        if self._limits.refuses(message) or queue in self._limits.unreachable:
            return
        await self._publish_once(message, queue, mandatory=False)

    async def _publish_once(
        self, message: Message, queue: str, *, mandatory: bool, expiry: asyncio.Timeout | None = None
    ) -> PublishFault | None:
        """Publish if the session is open; return RabbitMQ's answer, or raise when this connection ends."""
        with self._broker.ends_if_lost(), self._limits.learned(), Waiting(self.lifetime):
            async with self._limits.unreachable.recorded(queue, self._broker):
                channel = await underlay_of(self._channel)
                return await self._confirms.publish(channel, message, queue, mandatory=mandatory, expiry=expiry)

    async def finish(self) -> None:
        """Wait up to `FINISH_S` for pending confirms, then end all waits for confirms."""
        idle = asyncio.create_task(self._confirms.idle.wait(), name="last confirms")
        ends: set[asyncio.Future[Any]] = {idle, self.lifetime.ended}
        await asyncio.wait(ends, timeout=FINISH_S, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        self.lifetime.end("the connection that publishes was closed")

    async def watch_confirms(self, ended: asyncio.Future[str]) -> str:
        """Watch for overdue confirms until the future is done; return its result."""
        return await self._confirms.run_until(ended)

    def _end(self, reason: str) -> None:
        self._broker.end(reason)
        self.lifetime.end(reason)

    async def is_blocked(self) -> bool:
        """Return whether RabbitMQ is known to have an alarm; see `Confirms.is_blocked`."""
        return await self._confirms.is_blocked()
