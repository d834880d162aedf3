"""Publishes copies of dead letters as jobs, and waits for RabbitMQ's confirm of each."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from aio_pika.exceptions import ChannelPreconditionFailed
from aiormq import Channel

from consumer.errors import ConfigurationError, TryLaterError
from consumer.rabbitmq.confirms import PublishFault, publish_confirmed
from consumer.rabbitmq.connection import CONFIRM_TIMEOUT_S, may_be_lost
from consumer.wire.message import Message
from consumer.wire.topology import Topology

_REST = "Letters that were not replayed stay dead letters"


class ReplayWriter:
    """Publishes jobs; `publish` returns after RabbitMQ has confirmed the message.

    Mutable state: `_turns`, a lock per message id: with two messages of one id in flight, aiormq may mix up their
    confirms.
    """

    def __init__(self, channel: Channel, topology: Topology) -> None:
        self._channel = channel
        self._queue = topology.jobs
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def publish(self, message: Message) -> None:
        """Publish and wait for the confirm.

        Raises:
            ConfigurationError, TryLaterError, ConnectionLostError
        """
        turn = self._turns[message.message_id] if message.message_id else asyncio.Lock()
        async with turn:
            with may_be_lost():
                try:
                    async with asyncio.timeout(CONFIRM_TIMEOUT_S):
                        fault = await publish_confirmed(self._channel, message, self._queue)
                except ChannelPreconditionFailed as error:  # caught before `may_be_lost` sees it
                    raise ConfigurationError(
                        f"RabbitMQ refuses a job of this size ({error}); raise its max_message_size, or choose "
                        f"other letters. {_REST}"
                    ) from None
        if fault is PublishFault.NO_QUEUE:
            raise ConfigurationError(
                f"there is no queue {self._queue!r}; start a consumer with the same prefix first. {_REST}"
            )
        if fault:
            raise TryLaterError(
                f"the queue {self._queue!r} refuses messages (is it full?); try again when it has space. {_REST}"
            )
