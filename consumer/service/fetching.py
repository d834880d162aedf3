"""Adjusts the prefetch of a session's two consumers, and returns jobs that wait here for too long.

One consumer has normal priority and a prefetch of the pool's size; the other one, of lower priority, fetches
ahead. look_ahead.py decides; this module measures, opens and cancels consumers, and takes waiting jobs out of the
pool's line. It never runs, publishes or settles anything.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Final, NamedTuple, Protocol, Self

from consumer.errors import BrokerRefusedError, BrokerUnreachableError, ConnectionLostError
from consumer.runners.pool import Pool
from consumer.service.look_ahead import LookAhead, Pressure
from consumer.telemetry.metrics import Metrics
from consumer.wording import counted

log = logging.getLogger(__name__)

#: Seconds between decisions while jobs wait for a slot.
DECIDE_SOON_S: Final = 0.010
#: Seconds between decisions while jobs run and none waits.
DECIDE_S: Final = 0.25
#: A part of the tag of the consumer that fetches ahead.
AHEAD: Final = ".ahead."
#: The argument of that consumer: RabbitMQ serves all others first.
BEHIND: Final = {"x-priority": -1}


def is_ahead(tag: str) -> bool:
    """Whether the consumer with this tag fetches ahead.

    Only the tag's end counts: a prefix may contain `.ahead.`.
    """
    return tag.rpartition(".")[0].endswith(AHEAD.rstrip("."))


class Consuming(Protocol):
    """The part of a session that opens and cancels consumers."""

    async def consume(self, queue: str, *, prefetch: int, tag: str, arguments: Mapping[str, str | int]) -> None:
        """Start to consume."""

    async def cancel(self, tag: str) -> None:
        """Cancel a consumer; deliveries received before can still be settled."""


class Delivered(Protocol):
    """The part of a delivery that fetching needs."""

    @property
    def consumer(self) -> str:
        """The tag of the consumer that received it."""


@dataclass
class Consumer:
    """One consumer of a session. RabbitMQ cannot change its prefetch or arguments, so a change opens another one.

    Mutable state: `arguments` and `prefetch`; `tag`, empty while no consumer is open; `begun`, the start of each
    running job that the open consumer received; `_changing`, held during a change.
    """

    session: Consuming
    queue: str
    tags: Iterator[str]
    arguments: Mapping[str, str | int]
    prefetch: int = 0
    tag: str = ""
    begun: dict[int, float] = field(default_factory=dict)
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def resize(self, prefetch: int) -> None:
        """Replace the open consumer by one with this prefetch; with 0, only cancel it."""
        async with self._changing:
            await self._replace(prefetch, self.arguments)

    async def describe(self, arguments: Mapping[str, str | int]) -> None:
        """Replace the open consumer by one with these arguments, if they differ."""
        async with self._changing:
            if arguments != self.arguments:
                await self._replace(self.prefetch, arguments)

    async def _replace(self, prefetch: int, arguments: Mapping[str, str | int]) -> None:
        before, self.prefetch, self.arguments = self.tag, prefetch, arguments
        self.tag = next(self.tags) if prefetch else ""  # RabbitMQ takes 0 as unlimited
        self.begun.clear()
        if before:
            await self.session.cancel(before)
        if self.tag:
            await self.session.consume(self.queue, prefetch=prefetch, tag=self.tag, arguments=arguments)


class Consumers(NamedTuple):
    """The two consumers of one session."""

    normal: Consumer
    ahead: Consumer

    @classmethod
    def of(cls, session: Consuming, queue: str, tag: str, arguments: Mapping[str, str]) -> Self:
        """Open no consumer yet. Their tags begin with `tag`; the management console shows `arguments`."""
        normal_tags = chain([tag], (f"{tag}.{number}" for number in count(2)))
        ahead_tags = (f"{tag}{AHEAD}{number}" for number in count(1))
        normal = Consumer(session, queue, normal_tags, arguments)
        return cls(normal, Consumer(session, queue, ahead_tags, {**arguments, **BEHIND}))

    async def describe(self, arguments: Mapping[str, str]) -> None:
        """Replace both consumers by consumers with these arguments, if they differ."""
        await self.ahead.describe({**arguments, **BEHIND})
        await self.normal.describe(arguments)


class Fetching:
    """Fetches jobs for the slots of a pool.

    Mutable state: `_consumers`, the consumers of the present session.
    """

    def __init__(
        self,
        queue: str,
        pool: Pool,
        metrics: Metrics,
        *,
        look_ahead: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._pool = pool
        self._metrics = metrics
        self._clock = clock
        self._decide = LookAhead(pool.size, pool.times) if look_ahead else None
        self._consumers: Consumers | None = None

    async def start(self, session: Consuming, tag: str, arguments: Mapping[str, str]) -> None:
        """Open the normal consumer of a new session.

        Raises:
            BrokerRefusedError: the queue does not exist, or this user may not read it.
            ConnectionLostError
        """
        self._consumers = Consumers.of(session, self._queue, tag, arguments)
        await self._consumers.normal.resize(self._pool.size)

    async def describe(self, arguments: Mapping[str, str]) -> None:
        """Replace the arguments that the management console shows. If the session is lost, the next one has them.

        RabbitMQ does not count the jobs of the old consumer against the prefetch of the new one. Surplus jobs wait
        here for a slot, or return to the queue like any others.
        """
        if self._consumers:
            with suppress(ConnectionLostError, BrokerRefusedError, BrokerUnreachableError):
                await self._consumers.describe(arguments)

    def begins(self, delivery: Delivered) -> None:
        """Record that the job has a slot."""
        if self._decide and self._consumers and delivery.consumer == self._consumers.normal.tag:
            self._consumers.normal.begun[id(delivery)] = self._clock()

    def ended(self, delivery: Delivered) -> None:
        """Record that the job has left its slot, or the line of waiting jobs."""
        if self._consumers:
            self._consumers.normal.begun.pop(id(delivery), None)

    @contextmanager
    def counts_as_running(self, delivery: Delivered) -> Iterator[None]:
        """Count a redelivered job as running while it waits for its earlier run, which holds a slot."""
        self.begins(delivery)
        try:
            yield
        finally:
            self.ended(delivery)

    async def adjust(self) -> None:
        """Adjust the prefetch of both consumers repeatedly, until the connection is lost."""
        if self._decide is None or self._consumers is None:
            return
        try:
            # The supervisor learns of these faults as well. If the queue was deleted, RabbitMQ refuses the new
            # consumer by closing the channel.
            with suppress(ConnectionLostError, BrokerRefusedError, BrokerUnreachableError):
                while True:
                    await self._next_decision(self._consumers)
                    await self._adjust_once(self._decide, self._consumers)
        finally:
            self._metrics.gauge("slots.ahead", 0)

    async def _next_decision(self, consumers: Consumers) -> None:
        """Wait until the next decision: for a job if none runs, otherwise for a moment."""
        if self._pool.longest_wait_s() is not None or consumers.normal.prefetch < self._pool.size:
            await asyncio.sleep(DECIDE_SOON_S)
        elif not self._pool.busy:
            self._pool.used.clear()
            await self._pool.used.wait()
        else:
            self._pool.waits.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(DECIDE_S):
                    await self._pool.waits.wait()

    async def _adjust_once(self, decide: LookAhead, consumers: Consumers) -> None:
        now, most = self._clock(), self._pool.most_together
        long_s = decide.long_after_s(most)
        pressure = Pressure(
            waited_s=self._pool.longest_wait_s() or 0.0,
            long=self._pool.held_for(long_s),
            long_normal=sum(began < now - long_s for began in consumers.normal.begun.values()),
        )
        is_too_long = decide.is_too_long(pressure, most)
        if is_too_long:
            decide.returned(now)
        # Change first, then return: the other way round RabbitMQ would send the jobs here again.
        if (ahead := decide.ahead(now, most)) != consumers.ahead.prefetch:
            await consumers.ahead.resize(ahead)
            self._metrics.gauge("slots.ahead", ahead)
        if (normal := decide.normal(pressure, consumers.normal.prefetch)) is not None:
            await consumers.normal.resize(normal)
        if is_too_long:
            self._return_waiting()

    def _return_waiting(self) -> None:
        number = self._pool.return_waiting(even_again=False)
        self._metrics.count("jobs.returned", number)
        log.info(
            "%s returned to the queue from slots that hold long jobs",
            counted(number, "job"),
            extra={"event": "jobs_returned"},
        )
