"""Places in batches: who shares a slot with whom, what a batch does not tell, and who gives the slot back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from fakes import never, runs_async

from consumer.job import Interrupted, Job, Outcome, Request, Succeeded
from consumer.runners.batch_pool import BatchPool

DONE = Succeeded(output=b"1")


def job(number: int) -> Job:
    return Job(request=Request(id=str(number), correlation_id="c"), body=b"{}", timeout_s=1.0)


@dataclass
class Slot:
    """Tells what it was given; runs until the test lets it go on, and does not tell of the jobs in `untold`."""

    given: list[list[str]] = field(default_factory=list)
    untold: set[str] = field(default_factory=set)
    fault: Exception | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: int = 0
    is_held: bool = False

    async def run(self, job: Job, interrupt: asyncio.Future[None]) -> Outcome:  # noqa: ARG002 - Slot's signature
        await self._hold([job])
        return DONE

    async def run_together(self, jobs: Sequence[Job], interrupt: asyncio.Future[None]) -> Sequence[Outcome | None]:
        await self._hold(jobs)
        if self.fault:
            raise self.fault
        if interrupt.done():
            return [Interrupted()] * len(jobs)
        return [None if job.request.id in self.untold else DONE for job in jobs]

    async def _hold(self, jobs: Sequence[Job]) -> None:
        assert not self.is_held, "one thing at a time"
        self.is_held = True
        self.given.append([job.request.id for job in jobs])
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.is_held = False


@dataclass
class Bench:
    """A pool on such slots, and the tasks of jobs that have come to it."""

    slots: list[Slot]
    batch_size: int = 4
    batches: list[tuple[int, int]] = field(default_factory=list)
    tasks: list[asyncio.Task[Outcome]] = field(default_factory=list)
    interrupt: asyncio.Future[None] = field(default_factory=never)

    def __post_init__(self) -> None:
        self.pool = BatchPool(
            self.slots, batch_size=self.batch_size, on_batch=lambda *told: self.batches.append(told)
        )

    async def come(self, *numbers: int) -> None:
        """Let jobs come in one turn of the loop, and wait until nothing happens any more."""
        self.tasks += [asyncio.create_task(self.run(job(number))) for number in numbers]
        await self.quiet()

    async def seated(self) -> None:
        """Wait for the moment in which somebody has got a place and does not know it yet."""
        while self.pool.busy == 0:  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0)

    async def run(self, of: Job) -> Outcome:
        async with self.pool.slot() as place:
            return await place.run(of, self.interrupt)

    async def quiet(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def go(self, slot: int = 0) -> None:
        """Let what runs there end."""
        self.slots[slot].go.set()
        self.slots[slot].go = asyncio.Event()
        await self.quiet()

    @property
    def given(self) -> list[list[list[str]]]:
        return [slot.given for slot in self.slots]


@runs_async
async def test_a_job_that_comes_alone_runs_alone_at_once() -> None:
    bench = Bench([Slot()])
    await bench.come(1)
    assert bench.given == [[["1"]]]
    await bench.go()
    assert (bench.tasks[0].result(), bench.batches) == (DONE, [])


@runs_async
async def test_a_slot_that_gets_free_takes_what_waits_in_order_and_no_more_than_a_batch() -> None:
    bench = Bench([Slot()])
    await bench.come(1)
    await bench.come(2, 3, 4)
    await bench.come(5, 6)
    for _ in range(3):
        await bench.go()
    assert bench.given == [[["1"], ["2", "3", "4", "5"], ["6"]]]
    assert [task.result() for task in bench.tasks] == [DONE] * 6
    assert bench.batches == [(4, 0)]


@pytest.mark.parametrize(
    ("slots", "jobs", "shares"), [(2, 2, [2]), (2, 5, [4, 1]), (3, 4, [4]), (2, 9, [4, 4]), (4, 1, [1])]
)
@runs_async
async def test_a_free_slot_takes_all_it_can_and_the_next_one_the_rest(
    slots: int, jobs: int, shares: list[int]
) -> None:
    bench = Bench([Slot() for _ in range(slots)])
    await bench.come(*range(jobs))
    assert [len(given[0]) for given in bench.given if given] == shares
    assert (bench.pool.busy, bench.pool.size) == (len(shares), slots)
    while not all(task.done() for task in bench.tasks):
        for slot in range(slots):
            await bench.go(slot)
    assert bench.pool.busy == 0


@runs_async
async def test_a_job_that_its_batch_does_not_tell_of_runs_alone_before_those_that_wait() -> None:
    bench = Bench([Slot(untold={"2", "3"})])
    await bench.come(0)
    await bench.come(1, 2, 3)
    await bench.go()
    await bench.come(4, 5)
    await bench.go()
    assert [task.done() for task in bench.tasks] == [True, True, False, False, False, False]
    for _ in range(3):
        await bench.go()
    assert bench.given == [[["0"], ["1", "2", "3"], ["2"], ["3"], ["4", "5"]]]
    assert [task.result() for task in bench.tasks] == [DONE] * 6
    assert bench.batches == [(3, 2), (2, 0)]
    assert bench.pool.busy == 0


@runs_async
async def test_a_slot_is_free_once_all_have_left_it() -> None:
    bench = Bench([Slot()])
    await bench.come(0)
    await bench.come(1, 2)
    await bench.go()
    assert repr(bench.pool) == "<BatchPool 1 busy, 0 free, 0 waiting>"
    await bench.go()
    assert repr(bench.pool) == "<BatchPool 0 busy, 1 free, 0 waiting>"


@runs_async
async def test_a_place_tells_its_slot() -> None:
    pool = BatchPool([Slot(), Slot()], batch_size=2, on_batch=lambda *_: None)
    async with pool.slot() as first, pool.slot() as second:
        assert [pool.number(place) for place in (first, second)] == [0, 1]
        with pytest.raises(TypeError, match="no place of this pool"):
            pool.number(Slot())


# Who does not come, or goes


@runs_async
async def test_who_gives_up_in_the_line_takes_no_place() -> None:
    bench = Bench([Slot()])
    await bench.come(0)
    await bench.come(1, 2)
    bench.tasks[1].cancel()
    await bench.go()
    assert bench.given == [[["0"], ["2"]]]
    await bench.go()
    assert bench.pool.busy == 0


@runs_async
async def test_who_gives_up_at_the_moment_it_is_seated_leaves_its_place() -> None:
    bench = Bench([Slot()])
    bench.tasks += [asyncio.create_task(bench.run(job(number))) for number in (1, 2)]
    await bench.seated()
    bench.tasks[0].cancel()
    await bench.quiet()
    assert bench.given == [[["2"]]]
    await bench.go()
    assert (bench.tasks[1].result(), bench.pool.busy) == (DONE, 0)


@runs_async
async def test_a_batch_waits_for_nobody_who_has_left_without_a_job() -> None:
    bench = Bench([Slot()])
    leave = asyncio.Event()

    async def leaves() -> None:
        async with bench.pool.slot():
            await leave.wait()

    leaving = asyncio.create_task(leaves())
    await bench.come(1, 2)
    assert bench.given == [[]]
    leave.set()
    await leaving
    await bench.quiet()
    assert bench.given == [[["1", "2"]]]
    await bench.go()
    assert ([task.result() for task in bench.tasks], bench.pool.busy) == ([DONE, DONE], 0)


@runs_async
async def test_one_that_is_cancelled_leaves_the_others_their_run() -> None:
    bench = Bench([Slot()])
    await bench.come(0)
    await bench.come(1, 2, 3)
    await bench.go()
    bench.tasks[2].cancel()
    await bench.quiet()
    assert (bench.slots[0].cancelled, bench.pool.busy) == (0, 1)
    await bench.go()
    assert [task.result() for task in (bench.tasks[1], bench.tasks[3])] == [DONE, DONE]
    assert bench.pool.busy == 0


@runs_async
async def test_a_batch_ends_with_the_last_that_is_cancelled_and_gives_its_slot_back_after_that() -> None:
    bench = Bench([Slot()])
    await bench.come(0)
    await bench.come(1, 2)
    await bench.go()
    for task in bench.tasks[1:]:
        task.cancel()
    await bench.quiet()
    assert all(task.cancelled() for task in bench.tasks[1:])
    assert (bench.slots[0].cancelled, bench.pool.busy) == (1, 0)


@runs_async
async def test_a_bug_in_the_run_is_told_to_every_job_of_the_batch() -> None:
    bench = Bench([Slot(fault=ZeroDivisionError("bug"))])
    await bench.come(0)
    await bench.come(1, 2)
    await bench.go()
    await bench.go()
    assert [type(task.exception()) for task in bench.tasks[1:]] == [ZeroDivisionError] * 2
    assert bench.pool.busy == 0


@runs_async
async def test_an_interrupt_reaches_the_run() -> None:
    bench = Bench([Slot()])
    await bench.come(0)
    await bench.come(1, 2)
    await bench.go()
    bench.interrupt.set_result(None)
    await bench.go()
    assert [task.result() for task in bench.tasks[1:]] == [Interrupted()] * 2
