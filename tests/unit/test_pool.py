"""The pool: a fixed number of slots, each with one job at most, and when its run must have ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from support.async_tests import runs_async
from support.fakes.slots import FakeSlot

from consumer.job import Interrupted, Job, Outcome, Progress, Request, Succeeded
from consumer.runners.pool import GRACE_S, Pool
from consumer.runners.run import OnProgress
from consumer.telemetry.metrics import Metrics

DONE = Succeeded(output=b"1")


def job(number: int = 1, timeout_s: float = 1.0) -> Job:
    return Job(request=Request(id=str(number), correlation_id="c"), body=b"{}", timeout_s=timeout_s)


@dataclass
class Slot:
    """Runs each job until the test lets it go on."""

    ran: list[str] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, job: Job, on_progress: OnProgress = None) -> Outcome:
        self.ran.append(job.request.id)
        if on_progress:
            on_progress(Progress(0.5))
        await self.go.wait()
        return DONE


@dataclass
class Bench:
    """A pool of such slots."""

    slots: list[Slot]
    now: float = 0.0
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.pool = Pool(self.slots, self.metrics, clock=lambda: self.now)

    async def come(self, *numbers: int, timeout_s: float = 1.0) -> list[asyncio.Task[Outcome]]:
        """Let jobs come, and wait until nothing happens any more."""
        tasks = [asyncio.create_task(self.pool.run(job(number, timeout_s))) for number in numbers]
        await self.quiet()
        return tasks

    async def go(self, slot: int = 0) -> None:
        """Let what runs there end."""
        self.slots[slot].go.set()
        self.slots[slot].go = asyncio.Event()
        await self.quiet()

    async def quiet(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def ran(self) -> list[list[str]]:
        return [slot.ran for slot in self.slots]


@runs_async
async def test_the_pool_tells_its_size_and_what_is_held() -> None:
    bench = Bench([Slot(), Slot(), Slot()])
    assert (bench.pool.size, bench.pool.busy, repr(bench.pool)) == (3, 0, "<Pool 0 busy, 3 free>")
    await bench.come(1, 2)
    assert (bench.pool.size, bench.pool.busy, repr(bench.pool)) == (3, 2, "<Pool 2 busy, 1 free>")
    assert bench.metrics.registry.value("slots.busy") == 2
    await bench.go(0)
    await bench.go(1)
    assert (bench.pool.busy, repr(bench.pool)) == (0, "<Pool 0 busy, 3 free>")
    assert bench.metrics.registry.value("slots.busy") == 0


@runs_async
async def test_each_job_has_a_slot_of_its_own_which_was_free_for_longest() -> None:
    bench = Bench([Slot(), Slot()])
    await bench.come(1)
    await bench.go(0)
    await bench.come(2, 3)
    assert bench.ran == [["1", "3"], ["2"]]
    await bench.go(0)
    await bench.go(1)


@runs_async
async def test_a_slot_goes_back_after_an_exception() -> None:
    pool = Pool([FakeSlot(ZeroDivisionError())], Metrics())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await pool.run(job())
        assert pool.busy == 0


@runs_async
async def test_who_finds_no_free_slot_gets_the_next_one_in_order() -> None:
    bench = Bench([Slot()])
    tasks = await bench.come(1, 2, 3)
    assert bench.ran == [["1"]]
    for _ in range(3):
        await bench.go()
    assert bench.ran == [["1", "2", "3"]]
    assert [task.result() for task in tasks] == [DONE] * 3


@runs_async
async def test_at_a_stop_no_job_waits_not_even_one_that_comes_later() -> None:
    """A job may be asking whether its caller is still there while the others return."""
    bench = Bench([Slot()])
    (running, waiting) = await bench.come(1, 2)
    assert bench.pool.return_waiting(even_again=True) == 1
    (late,) = await bench.come(3)
    assert [waiting.result(), late.result()] == [Interrupted(), Interrupted()]
    await bench.go()
    assert running.result() == DONE


@runs_async
async def test_who_is_cancelled_while_waiting_takes_no_slot() -> None:
    bench = Bench([Slot()])
    _, waiting = await bench.come(1, 2)
    waiting.cancel()
    await bench.go()
    assert (bench.pool.busy, waiting.cancelled(), bench.ran) == (0, True, [["1"]])


@runs_async
async def test_who_is_cancelled_at_the_moment_a_slot_comes_gives_it_to_the_next() -> None:
    bench = Bench([Slot()])
    first, second, _ = await bench.come(1, 2, 3)
    bench.slots[0].go.set()
    while not first.done():  # noqa: ASYNC110 - the second does not know yet that it may go on
        await asyncio.sleep(0)
    second.cancel()
    await bench.quiet()
    assert (bench.pool.busy, second.cancelled(), bench.ran) == (0, True, [["1", "3"]])


@runs_async
async def test_a_job_that_is_cancelled_gives_its_slot_back() -> None:
    bench = Bench([Slot()])
    (running,) = await bench.come(1)
    running.cancel()
    await asyncio.wait([running])
    assert bench.pool.busy == 0


@runs_async
async def test_a_job_begins_in_its_slot_as_whoever_is_told_has_made_it() -> None:
    bench = Bench([Slot(), Slot()])
    for slot in bench.slots:
        slot.go.set()
    begun: list[int] = []
    heard: list[Progress] = []

    def begins(_: Job, slot: int) -> Job:
        begun.append(slot)
        return job(9)

    for _ in range(2):
        await bench.pool.run(job(), heard.append, begins)
    assert (begun, bench.ran, heard) == ([0, 1], [["9"], ["9"]], [Progress(0.5)] * 2)


@runs_async
async def test_a_run_is_overdue_after_its_time_and_the_grace_and_no_more_when_it_has_ended() -> None:
    bench = Bench([Slot(), Slot()])
    await bench.come(1, timeout_s=60)
    await bench.come(2, timeout_s=600)
    bench.now = 60 + GRACE_S
    assert bench.pool.overdue() == 0
    bench.now += 1
    assert bench.pool.overdue() == 1
    bench.now += 600
    assert bench.pool.overdue() == 2
    await bench.go(0)
    await bench.go(1)
    assert bench.pool.overdue() == 0
