"""One life after the other: which faults end the process, which are tried again, and when no life follows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from support.async_tests import runs_async

from consumer.errors import BrokerRefusedError, BrokerUnreachableError, ConfigurationError, ConsumerError
from consumer.rabbitmq.supervisor import Supervisor

DOWN = BrokerUnreachableError("nobody answers")
REFUSED = BrokerRefusedError("wrong password")
UNREADABLE = ConfigurationError("no certificate")


@dataclass
class FakeLife:
    """Lasts until the test says what happened."""

    url: str
    end: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    is_open: bool = True

    async def lost(self) -> str:
        return await self.end


@dataclass
class FakeBroker:
    """Opens lives, but for the faults that come first; `lives` tells of each that was opened."""

    faults: list[ConsumerError | None] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    lives: asyncio.Queue[FakeLife] = field(default_factory=asyncio.Queue)

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[FakeLife]:
        self.tried.append(url)
        if self.faults and (fault := self.faults.pop(0)):
            raise fault
        life = FakeLife(url)
        self.lives.put_nowait(life)
        yield life
        life.is_open = False


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


@runs_async
async def test_a_lost_life_is_closed_and_followed_by_another() -> None:
    broker, changes = FakeBroker(), list[bool]()
    supervisor = Supervisor(["a"], broker.open, changed=changes.append)
    running = asyncio.create_task(supervisor.run())
    first = await broker.lives.get()
    await asyncio.sleep(0)
    assert supervisor.consuming
    first.end.set_result("cut")
    second = await broker.lives.get()
    await asyncio.sleep(0)
    assert (first.is_open, second.is_open, supervisor.session) == (False, True, second)
    assert changes == [True, False, True]
    await stopped(running)
    assert not supervisor.consuming


@pytest.mark.parametrize("fault", [None, DOWN])
@runs_async
async def test_a_cancellation_that_the_opening_takes_for_an_answer_still_ends_it(
    fault: ConsumerError | None,
) -> None:
    asked, life = asyncio.Event(), FakeLife("a")

    @asynccontextmanager
    async def opened(_url: str) -> AsyncIterator[FakeLife]:
        asked.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        if fault:
            raise fault
        yield life

    supervisor = Supervisor(["a", "b"], opened)
    running = asyncio.create_task(supervisor.run())
    await asked.wait()
    await stopped(running)
    assert running.cancelled()
    assert not supervisor.consuming


@pytest.mark.parametrize("fault", [DOWN, REFUSED, UNREADABLE])
@runs_async
async def test_a_fault_at_the_start_ends_it(fault: ConsumerError) -> None:
    with pytest.raises(type(fault)):
        await Supervisor(["a"], FakeBroker([fault]).open).run()


@runs_async
async def test_at_the_start_each_address_is_tried_once_but_a_refusal_counts_for_all() -> None:
    down = FakeBroker([DOWN, DOWN, DOWN])
    with pytest.raises(BrokerUnreachableError):
        await Supervisor(["a", "b", "c"], down.open).run()
    assert sorted(down.tried) == ["a", "b", "c"]
    refused = FakeBroker([REFUSED])
    with pytest.raises(BrokerRefusedError):
        await Supervisor(["a", "b"], refused.open).run()
    assert len(refused.tried) == 1


@runs_async
async def test_after_it_has_served_every_fault_is_tried_again_at_the_next_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = FakeBroker([None, DOWN, REFUSED, UNREADABLE, DOWN])
    running = asyncio.create_task(Supervisor(["a", "b"], broker.open).run())
    with caplog.at_level(logging.INFO):
        (await broker.lives.get()).end.set_result("cut")
        await broker.lives.get()
    await stopped(running)
    assert [first != second for first, second in zip(broker.tried, broker.tried[1:], strict=False)] == [True] * 5
    faults = ("cut", "nobody answers", "wrong password", "no certificate")
    assert [caplog.text.count(fault) for fault in faults] == [1, 1, 1, 1]
    assert "taking jobs again after" in caplog.text
    assert "attempts: 5" in caplog.text


@runs_async
async def test_when_told_so_no_life_follows_this_one() -> None:
    broker = FakeBroker()
    supervisor = Supervisor(["a"], broker.open)
    running = asyncio.create_task(supervisor.run())
    life = await broker.lives.get()
    supervisor.end_with_this_session()
    life.end.set_result("cut")
    await running
    assert broker.tried == ["a"]


@runs_async
async def test_a_bug_is_not_tried_again() -> None:
    broker = FakeBroker()
    running = asyncio.create_task(Supervisor(["a"], broker.open).run())
    (await broker.lives.get()).end.set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await running
    assert broker.tried == ["a"]
