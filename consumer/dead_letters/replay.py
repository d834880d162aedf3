"""Publishes copies of dead letters as jobs, each confirmed before its letter may be removed."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from aio_pika.exceptions import ChannelPreconditionFailed, DeliveryError, PublishError
from aiormq.abc import AbstractChannel as AbstractUnderlayChannel

from consumer.errors import ConfigurationError, TryLaterError
from consumer.rabbitmq.codec import properties
from consumer.rabbitmq.connection import CONFIRM_TIMEOUT_S, may_be_lost
from consumer.wire.message import Message
from consumer.wire.topology import Topology


class ReplayWriter:
    """Publishes jobs; `publish` returns after RabbitMQ has confirmed the message.

    Mutable state: `_turns`, one for each message id: with two messages of one id in flight, aiormq may mix up
    their confirms.
    """

    def __init__(self, channel: AbstractUnderlayChannel, topology: Topology) -> None:
        self._channel = channel
        self._queue = topology.jobs
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def publish(self, message: Message) -> None:
        """Publish and wait for the confirm.

        Raises:
            ConfigurationError, TryLaterError, ConnectionLostError
        """
        turn = self._turns[message.message_id] if message.message_id else asyncio.Lock()
        try:
            async with turn:
                with may_be_lost():
                    await self._publish(message)
        except DeliveryError as error:
            raise self._refused(error) from None

    async def _publish(self, message: Message) -> None:
        try:
            await self._channel.basic_publish(
                message.body,
                routing_key=self._queue,
                properties=properties(message),
                mandatory=True,
                timeout=CONFIRM_TIMEOUT_S,
            )
        except ChannelPreconditionFailed as error:
            raise ConfigurationError(
                f"RabbitMQ takes no job of this size ({error}); raise its max_message_size, or choose other "
                "letters. What was not replayed is a dead letter still"
            ) from None

    def _refused(self, error: DeliveryError) -> Exception:
        if isinstance(error, PublishError):
            return ConfigurationError(
                f"there is no queue {self._queue!r}; start a consumer with the same prefix first. "
                "What was not replayed is a dead letter still"
            )
        return TryLaterError(
            f"the queue {self._queue!r} takes no messages (full?). What was not replayed is a dead letter still"
        )
