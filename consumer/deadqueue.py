"""The dead-letter queue: looked at, published again, emptied. Nothing is lost, whatever happens at what moment.

Looking means to consume all letters, unacked, and to let go of them by closing the channel: RabbitMQ sorts what
it puts back then (`return_all`, from 3.8 to 4.x). Nothing else keeps the order. After a nack half of 1,500 letters
were out of place, after get and close a tenth of 200 (3.10.8); and who looks at the first ten alone puts them
behind all that were looked at before, as there is one line for what was put back. Two who look at once would see a
part of the letters each: so there is a lock, which RabbitMQ drops with its holder's connection. Each return counts
against the queue's limit, which is 10^9 for that.

A letter is removed by an ack, and a replayed one not before RabbitMQ has confirmed its copy. Bodies are kept
while their copies are on their way, up to a budget; what is beyond it is for another look.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiormq.exceptions
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed, DeliveryError, PublishError
from aiormq.abc import AbstractChannel as AbstractUnderlayChannel
from aiormq.abc import DeliveredMessage

from consumer.connection import (
    CALL_TIMEOUT_S,
    CONFIRM_TIMEOUT_S,
    NO_FILES,
    connection,
    may_be_lost,
    refusal_explained,
)
from consumer.credentials import Credentials
from consumer.errors import BrokerRefusedError, ConfigurationError, ConnectionLostError, TryLaterError
from consumer.letters import Chosen, Letter, read_letter
from consumer.messages import Message, replay_copy
from consumer.properties import properties, received
from consumer.topology import Topology

#: What AMQP's prefetch can say, in 16 bits. For more letters there are more consumers, one after the other.
MOST_PER_CONSUMER = 65_535
#: Erlang keeps up to 32 entries of a map in order, by which RabbitMQ puts back what the consumers held.
MOST_CONSUMERS = 32
#: About 50 MB of facts. Letters behind these are held, for the order's sake, and not read.
MOST_READ = 65_535
#: Of bodies whose copies wait to be published, or for their confirm.
BUDGET_BYTES = 64 * 1024 * 1024
#: Copies on their way at once: most of what can be gained is gained below a hundred.
WINDOW = 64
#: RabbitMQ has counted letters that do not come: somebody else, such as the console, has taken them just now.
SILENCE_S = 10.0
#: Who looks needs seconds; who replays a full queue needs a minute.
LOCK_PATIENCE_S = 120.0
LOCK_POLL_S = 0.2
#: What was held is back some milliseconds after its channel was closed.
RETURN_PATIENCE_S = 10.0
RETURN_POLL_S = 0.01

#: Is told what a person who waits should know.
Say = Callable[[str], None]
#: Is told of each letter that was dealt with.
Done = Callable[[Letter], None]
#: Whether a letter's body is wanted, asked once for each.
Wanted = Callable[[Letter], bool]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the dead letters are, and how to get there."""

    url: str
    topology: Topology
    credentials: Credentials = NO_FILES
    say: Say = lambda _line: None


@dataclass(frozen=True, slots=True)
class Held:
    """A letter that we hold until it is acked or its channel closed. `message`, if its body was wanted."""

    letter: Letter
    tag: int
    message: Message | None


class Look:
    """All letters of the queue, held. `there`: how many RabbitMQ has counted.

    Mutable state: `_inbox`, letters that nobody has taken, and at its end None or what went wrong;
    `came`, how many were delivered; `acked`; `_kept`, the size of the bodies in memory; `is_full`, set when a
    letter was left for another look.
    """

    def __init__(self, channel: AbstractUnderlayChannel, queue: str, there: int, wanted: Wanted) -> None:
        self.there = there
        self._channel = channel
        self._queue = queue
        self._expected = min(there, MOST_PER_CONSUMER * MOST_CONSUMERS)
        self.came = 0
        self.acked = 0
        self.is_full = False
        self._wanted = wanted
        self._kept = 0
        self._inbox: asyncio.Queue[Held | Exception | None] = asyncio.Queue()

    async def begin(self) -> None:
        """Let the letters come. Not with `get`: each would have a consumer of its own, and lose its place."""
        if not self._expected:
            self._inbox.put_nowait(None)
            return
        self._channel.on_consumer_cancel_callbacks.add(lambda _: self.lost(f"RabbitMQ has deleted {self._queue}"))
        await self._consume()

    async def _consume(self) -> None:
        """Add a consumer. One that has its fill gets no more, so it holds what comes before the next one's."""
        number, left = self.came // MOST_PER_CONSUMER, self._expected - self.came
        await self._channel.basic_qos(prefetch_count=min(left, MOST_PER_CONSUMER))
        await self._channel.basic_consume(self._queue, self._on_message, consumer_tag=f"look.{number:03}")

    def lost(self, what: str) -> None:
        """Tell who waits for a letter that none will come."""
        self._inbox.put_nowait(ConnectionLostError(f"{what}; what was not settled stays a dead letter"))

    async def _on_message(self, delivered: DeliveredMessage) -> None:
        self.came += 1
        if self.came <= min(self._expected, MOST_READ) and not self.is_full:
            self._read(delivered)
        if self.came == self._expected:
            self._inbox.put_nowait(None)
        elif self.came % MOST_PER_CONSUMER == 0 and self.came < self._expected:
            await self._consume()

    def _read(self, delivered: DeliveredMessage) -> None:
        self.is_full = self._kept >= BUDGET_BYTES
        self._inbox.put_nowait(None if self.is_full else self._held(delivered))

    def _held(self, delivered: DeliveredMessage) -> Held:
        message = received(delivered.header.properties, delivered.body)
        letter = read_letter(message)
        is_wanted = self._wanted(letter)
        self._kept += letter.size if is_wanted else 0
        return Held(letter, delivered.delivery_tag or 0, message if is_wanted else None)

    async def next(self) -> Held | None:
        """Wait for the next letter; None when all have come, to each of those who wait.

        Raises:
            ConnectionLostError
        """
        try:
            item = await asyncio.wait_for(self._inbox.get(), SILENCE_S)
        except TimeoutError:
            return None
        if isinstance(item, Held):
            return item
        self._inbox.put_nowait(item)
        if item is not None:
            raise item
        return None

    async def remove(self, held: Held) -> None:
        """RabbitMQ forgets the letter."""
        with may_be_lost():
            await self._channel.basic_ack(held.tag, wait=False)
        self.acked += 1

    def forget(self, held: Held) -> None:
        """Make room for another body."""
        self._kept -= held.letter.size


@asynccontextmanager
async def _locked(place: Place) -> AsyncIterator[AbstractConnection]:
    """Connect, alone. The lock goes with the connection, however it ends.

    Raises:
        TryLaterError: somebody else has been at the letters for a long time.
        BrokerUnreachableError, BrokerRefusedError, ConfigurationError
    """
    async with connection(place.url, "dead-letters", place.credentials) as opened:
        deadline = time.monotonic() + LOCK_PATIENCE_S
        is_told = False
        while not await _lock(opened, place.topology):
            if not is_told:
                place.say("another command is at the dead letters: waiting for it to end")
            is_told = True
            if time.monotonic() > deadline:
                raise TryLaterError(
                    f"another command has been at the dead letters for {LOCK_PATIENCE_S:g} s (its connection is "
                    "called `rabbitmq-classifier dead-letters`); end it, or try again later"
                )
            await asyncio.sleep(LOCK_POLL_S)
        yield opened


async def _lock(opened: AbstractConnection, topology: Topology) -> bool:
    with may_be_lost(), _explained("look at the dead letters alone", topology):
        async with asyncio.timeout(CALL_TIMEOUT_S):
            channel = await opened.channel(publisher_confirms=False)
            try:
                await channel.declare_queue(topology.dead_lock, exclusive=True, auto_delete=True)
            except aiormq.exceptions.ChannelLockedResource:
                return False
    return True


@contextmanager
def _explained(act: str, topology: Topology) -> Iterator[None]:
    try:
        with refusal_explained(act):
            yield
    except BrokerRefusedError as error:
        what = str(error).partition(". ")[0]
        raise BrokerRefusedError(
            f"{what}. Check the prefix, and log in as a user who may configure, write and read all of "
            f"{topology.prefix}.… (`operator` in deploy/rabbitmq/definitions.json)"
        ) from None


async def _ready(channel: AbstractChannel, queue: str) -> int:
    """Count the letters that nobody holds."""
    declared = await channel.declare_queue(queue, passive=True, timeout=CALL_TIMEOUT_S)
    return declared.declaration_result.message_count or 0


@asynccontextmanager
async def _look(
    opened: AbstractConnection,
    topology: Topology,
    wanted: Wanted,
) -> AsyncIterator[Look]:
    """Hold the letters for the block; afterwards they are back, each in its place."""
    with may_be_lost(), _explained("look at the dead letters", topology):
        async with asyncio.timeout(CALL_TIMEOUT_S):
            ask = await opened.channel(publisher_confirms=False)
            there = await _ready(ask, topology.dead)
            hold = await opened.channel(publisher_confirms=False)
            look = Look(await hold.get_underlay_channel(), topology.dead, there, wanted)
            hold.close_callbacks.add(lambda *_: look.lost("the connection to RabbitMQ was lost"))
            await look.begin()
    try:
        yield look
    finally:
        with suppress(ConnectionLostError):  # then RabbitMQ has them back already
            await _let_go(look, hold, ask, topology.dead)


async def _let_go(look: Look, hold: AbstractChannel, ask: AbstractChannel, queue: str) -> None:
    """Close the channel, and keep the lock until RabbitMQ has put back all that was not acked."""
    with may_be_lost():
        async with asyncio.timeout(CALL_TIMEOUT_S):
            await hold.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(RETURN_PATIENCE_S):
                while await _ready(ask, queue) < look.came - look.acked:  # noqa: ASYNC110 - it has to be asked
                    await asyncio.sleep(RETURN_POLL_S)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look has found. `there`: how many letters the queue has, as far as RabbitMQ said."""

    letters: list[Letter]
    there: int


async def look(place: Place) -> Seen:
    """Look at the letters, the oldest first, keeping no body.

    Raises:
        TryLaterError, BrokerUnreachableError, BrokerRefusedError, ConnectionLostError, ConfigurationError
    """
    async with _locked(place) as opened, _look(opened, place.topology, lambda _: False) as looking:
        letters = []
        while held := await looking.next():
            letters.append(held.letter)
    return Seen(letters, looking.there)


async def find(place: Place, wanted: Wanted) -> list[tuple[Letter, Message]]:
    """Look for some letters, and keep them with their bodies: no more than the budget has room for.

    Raises:
        TryLaterError, BrokerUnreachableError, BrokerRefusedError, ConnectionLostError, ConfigurationError
    """
    async with _locked(place) as opened, _look(opened, place.topology, wanted) as looking:
        found = []
        while held := await looking.next():
            if held.message:
                found.append((held.letter, held.message))
    return found


async def purge(place: Place, chosen: Chosen, done: Done) -> None:
    """Remove the chosen letters.

    Raises:
        TryLaterError, BrokerUnreachableError, BrokerRefusedError, ConnectionLostError, ConfigurationError
    """
    async with _locked(place) as opened:
        is_more = True
        while is_more:
            async with _look(opened, place.topology, chosen.take) as looking:
                while held := await looking.next():
                    if held.message:
                        looking.forget(held)
                        await looking.remove(held)
                        done(held.letter)
            is_more = looking.is_full


async def replay(place: Place, chosen: Chosen, change: Callable[[Message], Message], done: Done) -> None:
    """Publish the chosen letters as jobs, and remove each when RabbitMQ has confirmed its copy.

    Interrupted anywhere, a letter is a dead letter still, or a job again, or both: then the next replay makes a
    second copy, with the same job id and the same mark.

    Raises:
        TryLaterError: the jobs queue is full.
        ConfigurationError: there is no jobs queue.
        BrokerUnreachableError, BrokerRefusedError, ConnectionLostError
    """
    async with (
        _locked(place) as opened,
        # RabbitMQ stops reading a connection that has published while it has an alarm: acks go by the other.
        connection(place.url, "replay", place.credentials) as publishing,
    ):
        with may_be_lost():
            async with asyncio.timeout(CALL_TIMEOUT_S):
                channel = await publishing.channel(publisher_confirms=True, on_return_raises=True)
                writer = Writer(await channel.get_underlay_channel(), place.topology)
        is_more = True
        while is_more:
            async with _look(opened, place.topology, chosen.take) as looking:
                await _together([_replay_some(looking, writer, change, done) for _ in range(WINDOW)])
            is_more = looking.is_full


async def _together(doing: list[Any]) -> None:
    """Wait for all; at the first fault stop the others and raise it."""
    tasks = [asyncio.ensure_future(one) for one in doing]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _replay_some(looking: Look, writer: Writer, change: Callable[[Message], Message], done: Done) -> None:
    while held := await looking.next():
        if held.message:
            await writer.publish(change(replay_copy(held.message)))
            looking.forget(held)
            await looking.remove(held)
            done(held.letter)


class Writer:
    """Publishes to the jobs queue: who returns from here knows that RabbitMQ has the message.

    Mutable state: `_turns`, one for each message id, as of two on their way with one id, what is said of the one
    may be taken for the other's (aiormq).
    """

    def __init__(self, channel: AbstractUnderlayChannel, topology: Topology) -> None:
        self._channel = channel
        self._queue = topology.jobs
        self._exchange = topology.jobs_exchange
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
                exchange=self._exchange,
                routing_key=self._queue,
                properties=properties(message),
                mandatory=True,
                timeout=CONFIRM_TIMEOUT_S,
            )
        except ChannelNotFoundEntity:
            raise ConfigurationError(
                f"there is no exchange {self._exchange!r}; start a consumer with the same prefix and shards "
                "first. What was not replayed is a dead letter still"
            ) from None
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
