"""Declares exchanges and queues, or checks that they exist. Each request has its own channel.

It creates only the exchange and queues that topology.py lists, in the order of that list. It does not consume or
publish.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused, ChannelClosed, ChannelLockedResource
from pamqp.commands import Queue as QueueCommands

from consumer.errors import BrokerUnreachableError
from consumer.rabbitmq.codec import BrokerLimits
from consumer.rabbitmq.confirms import underlay_of
from consumer.rabbitmq.connection import CALL_TIMEOUT_S, is_away, refusal_explained, throwaway_channel
from consumer.rabbitmq.connection_scope import Lifetime, Waiting
from consumer.wire.reply_address import DIRECT_REPLY_PREFIX
from consumer.wire.topology import EXCHANGE_TYPE, Queue, Topology

log = logging.getLogger(__name__)

#: How long to wait for a stream: at a start of RabbitMQ, streams become available seconds after quorum queues.
STREAM_PATIENCE_S = 30.0
STREAM_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue as AMQP shows it: the numbers of ready messages and of consumers. None means not known."""

    ready: int | None = None
    consumers: int | None = None


@dataclass(frozen=True, slots=True)
class Admin:
    """Sends requests on `connection` until `lifetime` ends. `limits` stores facts about queues."""

    connection: AbstractConnection
    limits: BrokerLimits
    lifetime: Lifetime

    async def declare(self, topology: Topology) -> None:
        """Create all exchanges and queues, or check that they have the expected arguments.

        Continues if the error stream is unavailable.

        Raises:
            BrokerRefusedError: an exchange or queue exists with other arguments, or this user may not declare it.
            BrokerUnreachableError: the node of a queue is down.
            ConnectionLostError
        """
        async with self._channel("declare exchanges and queues") as channel:
            await _declare(channel, topology)
        await self._find_error_stream(topology, create=True)

    async def check(self, topology: Topology) -> None:
        """Check that all exchanges and queues exist, for a user who may not create them.

        Continues if the error stream is unavailable.

        Raises:
            BrokerRefusedError: an exchange or queue is missing; the message names it.
            BrokerUnreachableError: the node of a queue is down.
            ConnectionLostError
        """
        await self.find_exchange(topology.dead_letter_exchange)
        async with self._channel("find all queues") as channel:
            for queue in topology.needed_queues():
                await channel.declare_queue(queue.name, passive=True, timeout=CALL_TIMEOUT_S)
        await self._find_error_stream(topology, create=False)

    async def declare_queue(self, queue: Queue, *, create: bool) -> None:
        """Create one queue, or check that it has the expected arguments; without `create`, check that it exists.

        Raises:
            BrokerRefusedError: it exists with other arguments, or is missing, or this user may not declare it.
            BrokerUnreachableError: its node is down.
            ConnectionLostError
        """
        async with self._channel(f"{'declare' if create else 'find'} {queue.name}") as channel:
            await channel.declare_queue(
                queue.name,
                durable=True,
                passive=not create,
                arguments=dict(queue.arguments) if create else None,
                timeout=CALL_TIMEOUT_S,
            )

    async def find_exchange(self, name: str) -> None:
        """Check that an exchange exists, before the first publish to it.

        Raises:
            BrokerRefusedError: it does not exist.
            ConnectionLostError
        """
        async with self._channel(f"find {name}") as channel:
            with suppress(ChannelAccessRefused):  # some versions of 4.2 and 4.3 require the right to configure
                await channel.declare_exchange(name, passive=True, timeout=CALL_TIMEOUT_S)

    async def depth(self, name: str) -> Depth | None:
        """Return how many messages and consumers a queue has; None if it does not exist.

        A late answer does not end the lifetime, because a measurement must not close the connection of running
        jobs.

        Raises:
            ConnectionLostError: the connection was lost, or RabbitMQ did not answer in time.
        """
        with Waiting(self.lifetime):
            return await depth(self.connection, name)

    async def has_queue(self, name: str) -> bool:
        """Return whether a queue or a direct reply-to address exists; True if RabbitMQ refuses to answer.

        Raises:
            ConnectionLostError
        """
        if name in self.limits.unreachable:
            return False
        is_direct = name.startswith(DIRECT_REPLY_PREFIX)
        with self.lifetime.ends_if_lost(), Waiting(self.lifetime):
            recorded = self.limits.unreachable.recorded(name, self.lifetime) if is_direct else nullcontext()
            async with self._channel(f"find {name}") as channel, recorded:
                try:
                    await (await underlay_of(channel)).rpc(_AnyQueue(name), timeout=CALL_TIMEOUT_S)
                except ChannelNotFoundEntity as error:
                    return is_away(error)
                except (ChannelLockedResource, ChannelAccessRefused):
                    # The queue is exclusive to its caller, so it exists; or this user may not ask (4.2.6 and
                    # 4.3.0 require the right to configure).
                    return True
        return True

    @asynccontextmanager
    async def _channel(self, act: str) -> AsyncIterator[AbstractChannel]:
        async with throwaway_channel(self.connection) as channel:
            with refusal_explained(act):
                yield channel

    async def _find_error_stream(self, topology: Topology, *, create: bool) -> None:
        """Wait until RabbitMQ has started the stream; after `STREAM_PATIENCE_S`, continue without it.

        After a kill, RabbitMQ 3.10 may never start a stream again (see docs/faults.md). Its other queues work, so
        jobs must not wait for the stream.
        """
        stream = topology.error_stream()
        is_known = stream.name in self.limits.silent
        give_up = asyncio.get_running_loop().time() + (0.0 if is_known else STREAM_PATIENCE_S)
        while True:
            # Asked before the call: a call that takes longer than the patience is followed by another one.
            is_last = asyncio.get_running_loop().time() >= give_up
            try:
                await self.declare_queue(stream, create=create)
            except BrokerUnreachableError as error:
                if is_last:
                    self.limits.silent.add(stream.name)
                    _warn_of_missing_stream(error)
                    return
                await asyncio.sleep(STREAM_POLL_S)
            else:
                self.limits.silent.discard(stream.name)
                return


async def depth(opened: AbstractConnection, name: str) -> Depth | None:
    """Return how many messages and consumers a queue has; None if it does not exist.

    Raises:
        ConnectionLostError
    """
    async with throwaway_channel(opened) as channel:
        try:
            queue = await channel.declare_queue(name, passive=True, timeout=CALL_TIMEOUT_S)
        except ChannelNotFoundEntity as error:
            return Depth() if is_away(error) else None
        except ChannelClosed:  # this user may not ask (4.2.6 and 4.3.0 require the right to configure)
            return Depth()
    counted = queue.declaration_result
    return Depth(ready=counted.message_count, consumers=counted.consumer_count)


async def count_consumers(opened: AbstractConnection, name: str) -> int | None:
    """Return how many consumers a queue has; None if it does not exist, or RabbitMQ refuses to answer.

    Raises:
        ConnectionLostError
    """
    found = await depth(opened, name)
    return found.consumers if found else None


async def _declare(channel: AbstractChannel, topology: Topology) -> None:
    """Declare the exchange and required queues, and bind the dead-letter queue to the exchange."""
    exchange = topology.dead_letter_exchange
    await channel.declare_exchange(exchange, EXCHANGE_TYPE, durable=True, timeout=CALL_TIMEOUT_S)
    for queue in topology.needed_queues():
        declared = await channel.declare_queue(
            queue.name, durable=True, arguments=dict(queue.arguments), timeout=CALL_TIMEOUT_S
        )
        if queue.name == topology.dead:
            await declared.bind(exchange, timeout=CALL_TIMEOUT_S)


def _warn_of_missing_stream(error: BrokerUnreachableError) -> None:
    log.warning(
        "the error stream is unavailable; until it is back, only this log has the reasons of failed jobs: %s",
        error,
        extra={"event": "error_stream_away"},
    )


class _AnyQueue(QueueCommands.Declare):
    """A passive declare of any name: pamqp refuses the `=` at the end of a direct reply-to address."""

    def __init__(self, name: str) -> None:
        super().__init__(passive=True)
        self.queue = name

    def validate(self) -> None:
        """Check nothing: the name arrived as a short string, so AMQP can carry it. RabbitMQ checks it."""
