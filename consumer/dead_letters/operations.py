"""Reads, replays and purges dead letters. A crash at any moment loses no letter.

browse.py reads letters and keeps their order. Two readers at the same time would each see only a part of the
letters, so a command takes a lock, which RabbitMQ releases when the command's connection ends. An ack removes a
letter; a replayed letter is acked only after RabbitMQ has confirmed its copy (replay.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiormq.exceptions
from aio_pika.abc import AbstractConnection

from consumer.config.credentials import Credentials
from consumer.dead_letters.browse import LetterReader, Wanted, letters_held, refusal_with_rights
from consumer.dead_letters.model import Letter
from consumer.dead_letters.replay import ReplayWriter
from consumer.errors import TryLaterError
from consumer.rabbitmq import pamqp_patch
from consumer.rabbitmq.admin import count_consumers
from consumer.rabbitmq.confirms import underlay_of
from consumer.rabbitmq.connection import CALL_TIMEOUT_S, NO_FILES, connection, may_be_lost
from consumer.wire.message import Message
from consumer.wire.topology import Topology
from consumer.wire.write import replay_copy

#: Copies in flight at once. More than a hundred gain little.
WINDOW = 64
#: How long to wait for the lock: another command needs seconds to read, and a minute to replay a full queue.
LOCK_PATIENCE_S = 120.0
LOCK_POLL_S = 0.2

#: Shows a message to the person who waits for the command.
Say = Callable[[str], None]
#: Called for each letter that was replayed or purged.
Done = Callable[[Letter], None]


@dataclass(frozen=True, slots=True)
class LetterQueue:
    """The dead-letter queue, and how to connect to it."""

    url: str
    topology: Topology
    credentials: Credentials = NO_FILES
    say: Say = lambda _line: None


@asynccontextmanager
async def _locked(queue: LetterQueue) -> AsyncIterator[AbstractConnection]:
    """Connect with the lock. RabbitMQ releases the lock when the connection ends in any way.

    Raises:
        TryLaterError: another command has held the lock for a long time.
        BrokerUnreachableError, BrokerRefusedError, ConfigurationError
    """
    pamqp_patch.install()
    async with connection(queue.url, "dead-letters", queue.credentials) as opened:
        deadline = time.monotonic() + LOCK_PATIENCE_S
        is_announced = False
        while not await _lock(opened, queue.topology):
            if not is_announced:
                queue.say("another command is using the dead letters: waiting for it to end")
            is_announced = True
            if time.monotonic() > deadline:
                raise TryLaterError(
                    f"another command has used the dead letters for {LOCK_PATIENCE_S:g} s (its connection is "
                    "called `rabbitmq-classifier dead-letters`); end it, or try again later"
                )
            await asyncio.sleep(LOCK_POLL_S)
        yield opened


async def _lock(opened: AbstractConnection, topology: Topology) -> bool:
    with may_be_lost(), refusal_with_rights("lock the dead letters", topology):
        async with asyncio.timeout(CALL_TIMEOUT_S):
            channel = await opened.channel(publisher_confirms=False)
            try:
                await channel.declare_queue(topology.dead_lock, exclusive=True, auto_delete=True)
            except aiormq.exceptions.ChannelLockedResource:
                return False
    return True


@dataclass(frozen=True, slots=True)
class Seen:
    """The letters that were read. `there`: the number of letters in the queue according to RabbitMQ."""

    letters: list[Letter]
    there: int


async def look(queue: LetterQueue) -> Seen:
    """Read the letters, the oldest first, and keep no body.

    Raises:
        TryLaterError, BrokerUnreachableError, BrokerRefusedError, ConnectionLostError, ConfigurationError
    """
    async with _locked(queue) as opened, letters_held(opened, queue.topology, lambda _: False) as reader:
        letters = []
        while held := await reader.next():
            letters.append(held.letter)
    return Seen(letters, reader.total)


async def find(queue: LetterQueue, wanted: Wanted) -> list[tuple[Letter, Message]]:
    """Return the wanted letters with their bodies, as far as the budget allows.

    Raises:
        TryLaterError, BrokerUnreachableError, BrokerRefusedError, ConnectionLostError, ConfigurationError
    """
    async with _locked(queue) as opened, letters_held(opened, queue.topology, wanted) as reader:
        found = []
        while held := await reader.next():
            if held.message:
                found.append((held.letter, held.message))
    return found


async def purge(queue: LetterQueue, wanted: Wanted, done: Done) -> None:
    """Remove the wanted letters.

    Raises:
        TryLaterError, BrokerUnreachableError, BrokerRefusedError, ConnectionLostError, ConfigurationError
    """
    async with _locked(queue) as opened:
        is_more = True
        while is_more:
            async with letters_held(opened, queue.topology, wanted) as reader:
                while held := await reader.next():
                    if held.message:
                        await reader.remove(held)
                        done(held.letter)
            is_more = reader.is_full


async def replay(queue: LetterQueue, wanted: Wanted, change: Callable[[Message], Message], done: Done) -> None:
    """Publish the wanted letters as jobs, and remove each after RabbitMQ has confirmed its copy.

    After an interruption, a letter is a dead letter, a job again, or both. If it is both, the next replay makes a
    second copy, with the same job id and the same replay count.

    Raises:
        TryLaterError: the jobs queue is full.
        ConfigurationError: the jobs queue does not exist.
        BrokerUnreachableError, BrokerRefusedError, ConnectionLostError
    """
    async with (
        _locked(queue) as opened,
        # During an alarm RabbitMQ stops reading from a connection that has published: acks use the other one.
        connection(queue.url, "replay", queue.credentials) as publishing,
    ):
        with may_be_lost():
            async with asyncio.timeout(CALL_TIMEOUT_S):
                channel = await publishing.channel(publisher_confirms=True, on_return_raises=True)
                writer = ReplayWriter(await underlay_of(channel), queue.topology)
        is_more = True
        while is_more:
            async with letters_held(opened, queue.topology, wanted) as reader:
                await _together([_replay_some(reader, writer, change, done) for _ in range(WINDOW)])
            is_more = reader.is_full


async def count_job_consumers(place: LetterQueue) -> int | None:
    """Return how many consumers the jobs queue has; None if RabbitMQ refuses to answer.

    Raises:
        BrokerUnreachableError, BrokerRefusedError, ConnectionLostError, ConfigurationError
    """
    async with connection(place.url, "dead-letters", place.credentials) as opened:
        return await count_consumers(opened, place.topology.jobs)


async def _together(doing: list[Any]) -> None:
    """Wait for all; at the first exception cancel the others and raise it."""
    tasks = [asyncio.ensure_future(one) for one in doing]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _replay_some(
    reader: LetterReader, writer: ReplayWriter, change: Callable[[Message], Message], done: Done
) -> None:
    while held := await reader.next():
        if held.message:
            await writer.publish(change(replay_copy(held.message)))
            await reader.remove(held)
            done(held.letter)
