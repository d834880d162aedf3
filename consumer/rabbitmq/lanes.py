"""Which shard each slot takes its jobs from: every process takes from all shards, its slots go where jobs wait.

A lane is a consumer with the prefetch of one slot, which is 1 without batches: one for each slot, so that all of
them together have the pool's, whichever shards they are at. The first lane of each shard stays there: while one
consumer lives, no shard is without, and who dies leaves nothing to be taken over. The others are at home at one
shard each; while nothing waits there and they have nothing to do, they go where most jobs wait. Processes know
nothing of each other: they look at what waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from consumer.errors import BrokerRefusedError, BrokerUnreachableError, ConnectionLostError
from consumer.rabbitmq.connection import raise_if_cancelled

#: How often what waits is asked for, by a question per shard; no slot is idle for longer while jobs wait.
LOOK_S = 1.0
#: The connection is lost, or what closes it: its life ends by itself then, and we with it.
LOST = (ConnectionLostError, BrokerRefusedError, BrokerUnreachableError)


class Holding(Protocol):
    """How many unsettled deliveries a consumer has."""

    def __getitem__(self, consumer: str) -> int: ...

    async def nothing(self, consumer: str) -> None:
        """Wait until it has none."""


class Broker(Protocol):
    """What lanes need of RabbitMQ. All may raise ConnectionLostError or BrokerRefusedError."""

    @property
    def holding(self) -> Holding: ...

    def cancel(self, tag: str) -> Coroutine[Any, Any, None]:
        """End a consumer."""

    async def ready(self, queues: Iterable[str]) -> dict[str, int]:
        """Count what waits in each queue."""


class Consume(Protocol):
    """Adds a consumer, with the prefetch of a slot. Raises as a Broker does."""

    def __call__(self, queue: str, *, tag: str) -> Coroutine[Any, Any, None]: ...


@dataclass(frozen=True, slots=True)
class Lane:
    """A consumer of one slot. `rank`: it goes away only to where more jobs wait than that; None: it never does."""

    tag: str
    home: str
    rank: int | None


def complaint(shards: int, slots: int) -> str | None:
    """Say that there are too few slots for a lane that stays at each shard; None if there are enough."""
    if slots >= shards:
        return None
    return (
        f"pool_size ({slots}) is less than shards ({shards}): a consumer takes from every shard, so that "
        "none is ever without one; raise pool_size, or lower shards"
    )


def lanes(shards: tuple[str, ...], slots: int, tag: str) -> list[Lane]:
    """Share the slots out to the shards, evenly; of these there are not more than slots."""
    stays = len(shards)
    return [
        Lane(f"{tag}.{number}", shards[number % stays], None if number < stays else number - stays)
        for number in range(slots)
    ]


def best_place(lane: Lane, here: str, ready: Mapping[str, int], *, is_idle: bool) -> str:
    """Decide where a lane should take its next job from.

    Args:
        lane: the lane.
        here: where it takes them from now.
        ready: how many jobs wait, by shard.
        is_idle: whether it has none.
    """
    if lane.rank is None or ready[lane.home]:
        return lane.home
    if not is_idle or ready[here]:
        return here
    busiest = max(ready, key=lambda shard: ready[shard])
    # A job that waits alone is one lane's, not that of all.
    return busiest if ready[busiest] > lane.rank else here


class Looking:
    """What waits, as it was seen last. Mutable state: `_next`, done with the next look."""

    def __init__(self) -> None:
        self._next: asyncio.Future[Mapping[str, int]] = asyncio.get_running_loop().create_future()

    async def next(self) -> Mapping[str, int]:
        """Wait for the next look."""
        return await asyncio.shield(self._next)

    async def look_on(self, broker: Broker, shards: tuple[str, ...]) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(LOOK_S)
            with suppress(*LOST):  # a look less
                ready = await broker.ready(shards)
                self._next.set_result(ready)
                self._next = asyncio.get_running_loop().create_future()
            raise_if_cancelled()  # or the stop would wait for this loop for ever


@asynccontextmanager
async def opened(
    broker: Broker, consume: Consume, shards: tuple[str, ...], slots: int, tag: str
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Take jobs from all shards for the block; give the tasks that see to it: an exception in one is a bug.

    Raises:
        BrokerRefusedError, ConnectionLostError
    """
    chosen, looking = lanes(shards, slots, tag), Looking()
    for lane in chosen:
        await consume(lane.home, tag=lane.tag)
    doing = [_go_on(broker, consume, lane, looking) for lane in chosen if lane.rank is not None]
    tasks = [asyncio.create_task(one, name="lanes") for one in (*doing, looking.look_on(broker, shards))]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _go_on(broker: Broker, consume: Consume, lane: Lane, looking: Looking) -> None:
    """Take jobs from where it is best, while the connection lasts."""
    here = lane.home
    with suppress(*LOST):
        while True:
            there = best_place(lane, here, await looking.next(), is_idle=not broker.holding[lane.tag])
            if there != here:
                await _whole(broker.cancel(lane.tag))
                await broker.holding.nothing(lane.tag)  # its slot is busy until then
                await _whole(consume(there, tag=lane.tag))
                here = there


async def _whole(call: Coroutine[Any, Any, None]) -> None:
    """Make a call to its end, also when we are cancelled: half of one closes the channel, with all that runs."""
    made = asyncio.ensure_future(call)
    made.add_done_callback(lambda made: made.cancelled() or made.exception())  # perhaps nobody waits any more
    await asyncio.shield(made)
