"""Where lanes go: a table of what waits, and the calls that a move is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pytest
from fakes import runs_async

from consumer.errors import ConnectionLostError
from consumer.rabbitmq import lanes
from consumer.rabbitmq.holding import Holding
from consumer.rabbitmq.lanes import Lane, best_place, complaint

SHARDS = ("a", "b", "c")
NOTHING = {"a": 0, "b": 0, "c": 0}


def test_slots_are_shared_out_evenly_and_one_at_each_shard_stays() -> None:
    assert lanes.lanes(SHARDS, 5, "t") == [
        Lane("t.0", "a", None),
        Lane("t.1", "b", None),
        Lane("t.2", "c", None),
        Lane("t.3", "a", 0),
        Lane("t.4", "b", 1),
    ]


def test_fewer_slots_than_shards_are_too_few() -> None:
    assert "raise pool_size, or lower shards" in str(complaint(4, 3))
    assert complaint(4, 4) is None


@pytest.mark.parametrize(
    ("rank", "here", "ready", "is_idle", "there"),
    [
        (None, "a", {"b": 99}, True, "a"),
        (0, "a", {}, True, "a"),
        (0, "a", {"b": 1, "c": 2}, True, "c"),
        (0, "a", {"b": 1, "c": 2}, False, "a"),
        (0, "a", {"a": 1, "c": 2}, True, "a"),
        (2, "a", {"c": 2}, True, "a"),
        (2, "a", {"c": 3}, True, "c"),
        (0, "b", {}, True, "b"),
        (0, "b", {"a": 1, "b": 99}, True, "a"),
        (0, "b", {"a": 1, "b": 99}, False, "a"),
        (0, "b", {"b": 1, "c": 99}, True, "b"),
        (0, "b", {"c": 99}, True, "c"),
    ],
    ids=[
        "the first of a shard stays",
        "nothing waits anywhere",
        "idle goes where most waits",
        "busy stays",
        "home comes first",
        "what waits is for others",
        "enough waits for all",
        "away, and nothing waits anywhere",
        "away, idle, wanted at home",
        "away, busy, wanted at home",
        "away, what waits here will come",
        "away, idle, on to the next",
    ],
)
def test_a_lane_goes(rank: int | None, here: str, ready: Mapping[str, int], is_idle: bool, there: str) -> None:
    assert best_place(Lane("t", "a", rank), here, {**NOTHING, **ready}, is_idle=is_idle) == there


@dataclass
class FakeBroker:
    """Says what waits, and remembers what it was told."""

    waiting: dict[str, int]
    holding: Holding = field(default_factory=Holding)
    told: list[tuple[str, ...]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.answers.set()

    async def consume(self, queue: str, *, tag: str) -> None:
        await self._take("consume", queue, tag)

    async def cancel(self, tag: str) -> None:
        await self._take("cancel", tag)

    async def ready(self, queues: Iterable[str]) -> dict[str, int]:
        return {queue: self.waiting[queue] for queue in queues}

    async def _take(self, *what: str) -> None:
        if not self.answers.is_set():
            self.asked.set()
            await self.answers.wait()
        self.told.append(what)
        self.changed.set()

    async def until_told(self, count: int) -> list[tuple[str, ...]]:
        while len(self.told) < count:
            self.changed.clear()
            await self.changed.wait()
        return self.told


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LOOK_S", 0.0)


@runs_async
async def test_an_idle_lane_goes_where_jobs_wait() -> None:
    broker = FakeBroker({**NOTHING, "c": 5})
    async with lanes.opened(broker, broker.consume, SHARDS, 4, "t"):
        told = await broker.until_told(6)
    assert told[:4] == [
        ("consume", "a", "t.0"),
        ("consume", "b", "t.1"),
        ("consume", "c", "t.2"),
        ("consume", "a", "t.3"),
    ]
    assert told[4:] == [("cancel", "t.3"), ("consume", "c", "t.3")]


@runs_async
async def test_a_lane_that_is_wanted_at_home_first_ends_what_it_has() -> None:
    broker = FakeBroker({**NOTHING, "c": 5})
    async with lanes.opened(broker, broker.consume, SHARDS, 4, "t"):
        await broker.until_told(6)
        broker.holding.more("t.3")
        broker.waiting["a"] = 1
        assert (await broker.until_told(7))[6:] == [("cancel", "t.3")]
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(broker.told) == 7
        broker.holding.less("t.3")
        assert (await broker.until_told(8))[7:] == [("consume", "a", "t.3")]


class LostBroker(FakeBroker):
    """Answers a cancelled call with a lost connection, as aiormq does for a channel that is closed just then."""

    async def ready(self, queues: Iterable[str]) -> dict[str, int]:
        if not self.asked.is_set():
            return await super().ready(queues)
        self.changed.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionLostError("the channel was closed") from None
        return {}


@runs_async
async def test_a_stop_ends_the_look_that_is_answered_with_a_lost_connection() -> None:
    broker = LostBroker(NOTHING)
    async with lanes.opened(broker, broker.consume, SHARDS, 4, "t"):
        broker.changed.clear()
        broker.asked.set()
        await broker.changed.wait()


@runs_async
async def test_a_call_that_has_begun_is_made_to_its_end_when_we_stop() -> None:
    broker = FakeBroker({**NOTHING, "c": 5})
    async with lanes.opened(broker, broker.consume, SHARDS, 4, "t"):
        broker.answers.clear()
        await broker.asked.wait()
    assert len(broker.told) == 4
    broker.answers.set()
    assert (await broker.until_told(5))[4:] == [("cancel", "t.3")]
