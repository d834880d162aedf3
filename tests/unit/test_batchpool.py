"""Jobs in batches: who shares a slot with whom, what a batch does not tell, and who gives the slot back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from support.async_tests import runs_async

from consumer.job import Interrupted, Job, Outcome, Progress, Request, Succeeded
from consumer.runners.batch_pool import BatchPool
from consumer.runners.batch_run import BatchOutcome
from consumer.runners.pool import GRACE_S
from consumer.runners.run import OnProgress
from consumer.telemetry.metrics import Metrics

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

    async def run(self, job: Job, on_progress: OnProgress = None) -> Outcome:  # noqa: ARG002 - Slot's signature
        await self._hold([job])
        return DONE

    async def run_together(self, jobs: Sequence[Job], on_progress: OnProgress = None) -> Sequence[BatchOutcome]:
        if on_progress:
            on_progress(Progress(0.5))
        await self._hold(jobs)
        if self.fault:
            raise self.fault
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
    tasks: list[asyncio.Task[Outcome]] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.pool = BatchPool(self.slots, self.metrics, lambda: self.batch_size, clock=lambda: self.now)

    async def come(self, *numbers: int) -> None:
        """Let jobs come in one turn of the loop, and wait until nothing happens any more."""
        self.tasks += [asyncio.create_task(self.pool.run(job(number))) for number in numbers]
        await self.quiet()

    async def seated(self) -> None:
        """Wait for the moment in which somebody has got a place and does not know it yet."""
        while self.pool.busy == 0:  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0)

    async def quiet(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    async def go(self, slot: int = 0) -> None:
        """Let what runs there end."""
        self.slots[slot].go.set()
        self.slots[slot].go = asyncio.Event()
        await self.quiet()

    @property
    def batches(self) -> list[float]:
        """How many batches there were, of how many jobs, of which so many ran again alone."""
        names = ("batches.run", "batches.jobs", "batches.alone")
        return [self.metrics.registry.value(name) for name in names]

    @property
    def given(self) -> list[list[list[str]]]:
        return [slot.given for slot in self.slots]


@runs_async
async def test_a_job_that_comes_alone_runs_alone_at_once() -> None:
    bench = Bench([Slot()])
    await bench.come(1)
    assert bench.given == [[["1"]]]
    await bench.go()
    assert (bench.tasks[0].result(), bench.batches) == (DONE, [0, 0, 0])


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
    assert bench.batches == [1, 4, 0]


@pytest.mark.parametrize(
    ("slots", "jobs", "shares"),
    [(1, 5, [4]), (2, 2, [1, 1]), (2, 5, [3, 2]), (3, 4, [2, 1, 1]), (2, 9, [4, 4]), (4, 1, [1])],
)
@runs_async
async def test_free_slots_share_what_waits(slots: int, jobs: int, shares: list[int]) -> None:
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
    assert bench.batches == [2, 5, 2]
    assert bench.pool.busy == 0


@runs_async
async def test_those_that_are_to_run_alone_take_every_slot_that_is_free() -> None:
    bench = Bench([Slot(), Slot(), Slot(untold={"1", "2", "3"})])
    await bench.come(8)
    await bench.come(9)
    await bench.come(1, 2, 3)
    for slot in range(3):
        await bench.go(slot)
    assert sorted(given[-1] for given in bench.given) == [["1"], ["2"], ["3"]]
    assert bench.pool.busy == 3
    for slot in range(3):
        await bench.go(slot)
    assert [task.result() for task in bench.tasks] == [DONE] * 5
    assert bench.pool.busy == 0


@runs_async
async def test_a_slot_is_free_once_all_have_left_it() -> None:
    bench = Bench([Slot()])
    await bench.come(0)
    await bench.come(1, 2)
    await bench.go()
    assert repr(bench.pool) == "<BatchPool 1 busy, 0 free>"
    await bench.go()
    assert repr(bench.pool) == "<BatchPool 0 busy, 1 free>"


@runs_async
async def test_each_job_begins_once_in_the_slot_that_it_gets_first() -> None:
    bench = Bench([Slot(untold={"2"})])
    begun: list[tuple[str, int]] = []

    def begins(of: Job, slot: int) -> Job:
        begun.append((of.request.id, slot))
        return of

    tasks = [asyncio.create_task(bench.pool.run(job(number), None, begins)) for number in (1, 2)]
    await bench.quiet()
    await bench.go()
    await bench.go()
    assert bench.given == [[["1", "2"], ["2"]]]
    assert [task.result() for task in tasks] == [DONE] * 2
    assert begun == [("1", 0), ("2", 0)]


@runs_async
async def test_progress_of_a_batch_is_that_of_every_job_that_has_asked() -> None:
    bench = Bench([Slot()])
    heard: list[Progress] = []
    hearing = (heard.append, None, heard.append)
    tasks = [asyncio.create_task(bench.pool.run(job(number), hears)) for number, hears in enumerate(hearing)]
    await bench.quiet()
    assert heard == [Progress(0.5)] * 2
    await bench.go()
    assert [task.result() for task in tasks] == [DONE] * 3


@runs_async
async def test_a_slot_is_overdue_by_the_run_in_it_however_long_its_jobs_had_waited() -> None:
    bench = Bench([Slot(untold={"2"})])
    await bench.come(0)
    bench.now = 1000.0
    await bench.come(1, 2)
    await bench.go()
    assert bench.pool.overdue() == 0
    bench.now += 1 + GRACE_S + 1
    assert bench.pool.overdue() == 1
    await bench.go()
    assert bench.pool.overdue() == 0  # the second of them runs alone now
    bench.now += 1 + GRACE_S + 1
    assert bench.pool.overdue() == 1
    await bench.go()
    assert bench.pool.overdue() == 0


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
    bench.tasks += [asyncio.create_task(bench.pool.run(job(number))) for number in (1, 2)]
    await bench.seated()
    bench.tasks[0].cancel()
    await bench.quiet()
    assert bench.given == [[["2"]]]
    await bench.go()
    assert (bench.tasks[1].result(), bench.pool.busy) == (DONE, 0)


@runs_async
async def test_where_all_give_up_at_the_moment_they_are_seated_nothing_runs() -> None:
    bench = Bench([Slot()])
    bench.tasks += [asyncio.create_task(bench.pool.run(job(number))) for number in (1, 2)]
    await bench.seated()
    for task in bench.tasks:
        task.cancel()
    await bench.quiet()
    assert (bench.given, bench.pool.busy) == ([[]], 0)


@runs_async
async def test_who_gives_up_waiting_to_run_alone_leaves_the_slot_to_the_next() -> None:
    bench = Bench([Slot(untold={"2", "3"})])
    await bench.come(1, 2, 3)
    await bench.go()
    bench.tasks[2].cancel()
    await bench.come(4)
    await bench.go()
    await bench.go()
    assert bench.given == [[["1", "2", "3"], ["2"], ["4"]]]
    assert bench.pool.busy == 0


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
async def test_at_a_stop_no_job_waits_not_even_one_that_comes_later() -> None:
    bench = Bench([Slot()])
    await bench.come(1)
    await bench.come(2)
    assert bench.pool.return_waiting(even_again=True) == 1
    await bench.come(3)
    assert [task.result() for task in bench.tasks[1:]] == [Interrupted(), Interrupted()]
    bench.slots[0].go.set()
    assert await bench.tasks[0] == DONE
