"""Holds the letters of the dead-letter queue while a command reads them, and then returns them in their order.

It consumes the letters without an ack and then closes the channel: RabbitMQ requeues the unacked messages in their
order (`return_all`, from 3.8 to 4.x). No other way keeps the order. After a nack, half of 1,500 letters were out
of place; after get and close, a tenth of 200 (3.10.8). A read of only the first ten letters would put them behind
all letters that were read before, because RabbitMQ keeps returned messages in one queue of their own. Each return
counts against the queue's delivery limit, which is therefore 10^9.

Bodies stay in memory while they are needed, up to a budget. The next pass reads the letters beyond the budget.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.abc import AbstractChannel as AbstractUnderlayChannel
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelNotFoundEntity
from pamqp.commands import Queue

from consumer.dead_letters.model import Letter, read_letter
from consumer.errors import BrokerRefusedError, ConfigurationError, ConnectionLostError
from consumer.rabbitmq.codec import received
from consumer.rabbitmq.connection import CALL_TIMEOUT_S, is_away, may_be_lost, refusal_explained
from consumer.wire.message import Message
from consumer.wire.topology import Topology, no_queue

#: AMQP's largest prefetch (16 bits); the facts of so many letters take about 50 MB. Later letters are not read.
MOST_READ = 65_535
#: The budget for bodies whose copies wait to be published or confirmed.
BUDGET_BYTES = 64 * 1024 * 1024
#: How long to wait for the next letter. Letters that RabbitMQ has counted may not arrive: another reader, such as
#: the console, has just taken them.
SILENCE_S = 10.0
#: How long to wait for the letters to be back in the queue: usually some milliseconds after the channel was
#: closed.
RETURN_PATIENCE_S = 10.0
RETURN_POLL_S = 0.01
#: How long a killed command may keep its letters. A consumer that stays longer is not one of these commands.
RELEASE_PATIENCE_S = 2.0

#: Returns whether a letter's body is needed; called once per letter.
Wanted = Callable[[Letter], bool]


@dataclass(frozen=True, slots=True)
class Held:
    """A letter that the command holds until its ack or the end of the channel.

    `message` is None if the command does not need the body.
    """

    letter: Letter
    tag: int
    message: Message | None


class LetterReader:
    """One pass over the queue; it holds the letters until its end. `total`: their number according to RabbitMQ.

    Mutable state: `_inbox`, the unread letters, and at its end None or the fault; `arrived`, the number of
    delivered letters; `acked`, that of acked ones; `_consumer`, the consumer's tag; `_kept`, the size of the
    bodies in memory; `is_full`, set when the budget was used up and another pass is necessary.
    """

    def __init__(self, channel: AbstractUnderlayChannel, queue: str, total: int, wanted: Wanted) -> None:
        self.total = total
        self._channel = channel
        self._queue = queue
        self._expected = min(total, MOST_READ)
        self.arrived = 0
        self.acked = 0
        self.is_full = False
        self._consumer = ""
        self._wanted = wanted
        self._kept = 0
        self._inbox: asyncio.Queue[Held | Exception | None] = asyncio.Queue()

    async def begin(self) -> None:
        """Start to consume. `basic.get` would not keep the order, because each get counts as another consumer."""
        if not self._expected:
            self._inbox.put_nowait(None)
            return
        self._channel.on_consumer_cancel_callbacks.add(lambda _: self.lost(f"RabbitMQ has deleted {self._queue}"))
        await self._channel.basic_qos(prefetch_count=self._expected)
        self._consumer = (await self._channel.basic_consume(self._queue, self._on_message)).consumer_tag or ""

    def lost(self, what: str) -> None:
        """Make all waiting readers raise ConnectionLostError, because no more letters will arrive."""
        self._inbox.put_nowait(ConnectionLostError(f"{what}; unsettled letters stay dead letters"))

    async def _on_message(self, delivered: DeliveredMessage) -> None:
        """Store a letter. After acks RabbitMQ delivers more than expected; the next pass reads the rest."""
        self.arrived += 1
        if self.arrived <= self._expected and not self.is_full:
            self.is_full = self._kept >= BUDGET_BYTES
            self._inbox.put_nowait(None if self.is_full else self._held(delivered))
        if self.arrived == self._expected:
            self._inbox.put_nowait(None)

    def _held(self, delivered: DeliveredMessage) -> Held:
        message = received(delivered.header.properties, delivered.body)
        letter = read_letter(message)
        is_wanted = self._wanted(letter)
        self._kept += letter.size if is_wanted else 0
        return Held(letter, delivered.delivery_tag or 0, message if is_wanted else None)

    async def next(self) -> Held | None:
        """Wait for the next letter. After the last one, every reader receives None.

        Raises:
            ConnectionLostError: the connection was lost, or the queue was deleted.
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
        """Ack the letter: RabbitMQ deletes it, and its body no longer counts against the budget."""
        self._kept -= held.letter.size
        with may_be_lost():
            await self._channel.basic_ack(held.tag, wait=False)
        self.acked += 1

    async def settle_acks(self) -> None:
        """Wait until the queue has all acks: the channel would forget the acks that it holds back.

        While 32 acks are not yet on disk, the channel in RabbitMQ holds back all further acks of a quorum queue.
        When it closed at once after 300 acks, up to 267 letters came back, in 18 of 40 trials (3.10.8). It answers
        `basic.cancel` only after the queue has the first 32, and then passes on the rest: 0 of 40 trials.
        """
        if self.acked:
            await self._channel.basic_cancel(self._consumer)


@contextmanager
def refusal_with_rights(act: str, topology: Topology) -> Iterator[None]:
    """Name the required permissions in the error if RabbitMQ refuses.

    Raises:
        BrokerRefusedError, BrokerUnreachableError
        ConfigurationError: there is no dead-letter queue.
    """
    try:
        with refusal_explained(act):
            try:
                yield
            except ChannelNotFoundEntity as error:
                if is_away(error):
                    raise
                raise ConfigurationError(no_queue(topology.dead)) from None
    except BrokerRefusedError as error:
        what = str(error).partition(". ")[0]
        raise BrokerRefusedError(
            f"{what}. Check the prefix, and log in as a user who may configure, write and read all of "
            f"{topology.prefix}.…: rabbitmqctl set_permissions -p VHOST USER '^{re.escape(topology.prefix)}\\.' "
            f"'^{re.escape(topology.prefix)}\\.|^amq\\.default$' '^{re.escape(topology.prefix)}\\.'"
        ) from None


async def _found(channel: AbstractChannel, queue: str) -> Queue.DeclareOk:
    """Count the consumers, and the letters that none of them holds."""
    return (await channel.declare_queue(queue, passive=True, timeout=CALL_TIMEOUT_S)).declaration_result


async def _released(channel: AbstractChannel, queue: str) -> None:
    """Wait until no consumer holds letters: RabbitMQ releases a killed command's lock before its letters."""
    with suppress(TimeoutError):
        async with asyncio.timeout(RELEASE_PATIENCE_S):
            while (await _found(channel, queue)).consumer_count:  # noqa: ASYNC110 - RabbitMQ sends no event
                await asyncio.sleep(RETURN_POLL_S)


@asynccontextmanager
async def letters_held(
    opened: AbstractConnection,
    topology: Topology,
    wanted: Wanted,
) -> AsyncIterator[LetterReader]:
    """Hold the letters during the block; afterwards they are back in the queue, in their order."""
    with may_be_lost(), refusal_with_rights("read the dead letters", topology):
        async with asyncio.timeout(CALL_TIMEOUT_S):
            ask = await opened.channel(publisher_confirms=False)
            await _released(ask, topology.dead)
            total = (await _found(ask, topology.dead)).message_count or 0
            hold = await opened.channel(publisher_confirms=False)
            reader = LetterReader(await hold.get_underlay_channel(), topology.dead, total, wanted)
            hold.close_callbacks.add(lambda *_: reader.lost("the connection to RabbitMQ was lost"))
            await reader.begin()
    try:
        yield reader
    finally:
        with suppress(ConnectionLostError):  # then RabbitMQ has already requeued them
            await _let_go(reader, hold, ask, topology.dead)


async def _let_go(reader: LetterReader, hold: AbstractChannel, ask: AbstractChannel, queue: str) -> None:
    """Close the channel, and wait until RabbitMQ has requeued all unacked letters; the caller holds the lock."""
    with may_be_lost():
        async with asyncio.timeout(CALL_TIMEOUT_S):
            await reader.settle_acks()
            await hold.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(RETURN_PATIENCE_S):
                unacked = reader.arrived - reader.acked
                while ((await _found(ask, queue)).message_count or 0) < unacked:  # noqa: ASYNC110 - RabbitMQ sends no event
                    await asyncio.sleep(RETURN_POLL_S)
