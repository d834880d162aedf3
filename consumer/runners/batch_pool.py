"""The pool for a function that accepts batches: a slot takes several waiting jobs at once.

A free slot takes the jobs that wait at this moment, and never waits for more. If several slots are free, they
share the waiting jobs, so that none stays idle. The measured times limit the size of a batch (run_times.py). If a
batch gives no outcome for a job, the job runs again alone, before jobs that have not run yet. So a job never fails
because of another job in its batch.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from consumer.job import Interrupted, Job, Outcome, Progress
from consumer.runners.batch_run import BatchOutcome
from consumer.runners.pool import Begins, InLine, Pool, Slot, as_it_is, begun
from consumer.runners.run import OnProgress
from consumer.telemetry import log_context
from consumer.telemetry.metrics import Metrics


class BatchSlot(Slot, Protocol):
    """A slot that can run several jobs at once."""

    async def run_together(self, jobs: Sequence[Job], on_progress: OnProgress = None) -> Sequence[BatchOutcome]:
        """Run the jobs and return their outcomes in order. The outcome None means that the job must run alone."""


@dataclass(eq=False, slots=True, kw_only=True)
class JobInLine(InLine):
    """A waiting job. `assigned` receives its outcome, or the number of a slot in which it runs alone.

    Mutable state: `job`, which `begin` may replace; `begins`, called once when the job begins; `batch`, the batch
    that runs the job; `others`, all jobs of that batch.
    """

    job: Job
    on_progress: OnProgress
    begins: Begins
    context: Context = field(default_factory=copy_context)
    batch: asyncio.Task[Sequence[BatchOutcome]] | None = None
    others: Sequence[JobInLine] = ()

    def begin(self, number: int) -> None:
        """Mark the job as begun, in the context of the job's own task. Further calls change nothing."""
        self.job = self.context.run(begun, self.job, number, self.begins)
        self.begins = as_it_is


class BatchPool(Pool):
    """Gives a slot to one or several jobs.

    Mutable state besides that of Pool: `_together`, the waiting jobs that may share a slot, while `_line` holds
    those that must run alone; `_is_scheduled`, set while `_hand_out` is scheduled.
    """

    def __init__(
        self,
        slots: Sequence[BatchSlot],
        metrics: Metrics,
        most: Callable[[], int],
        *,
        longest_s: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let at most `most()` jobs run together. `most()` is 1 while the loaded function accepts no batches.

        A job with a time limit above `longest_s` seconds runs alone.
        """
        super().__init__(slots, metrics, clock=clock)
        self._batch_slots = slots
        self._most = most
        self._longest_s = longest_s
        self._together: deque[JobInLine] = deque()
        self._is_scheduled = False

    @property
    def most_together(self) -> int:
        return self._most()

    def batch_size(self) -> int:
        """Return the size of a batch that suits the measured times; while these are unknown, the largest size."""
        most = self._most()
        fit = self.times.fit() if most > 1 else None
        return fit.batch(most) if fit else most

    def _waiting(self) -> Iterable[InLine]:
        return (one for one in chain(super()._waiting(), self._together) if not one.assigned.done())

    async def run(
        self, job: Job, on_progress: OnProgress = None, begins: Begins = as_it_is, *, may_return: bool = True
    ) -> Outcome:
        """Wait for a slot, run the job in it with other waiting jobs, and return its outcome."""
        if self._most() == 1 or job.timeout_s > self._longest_s:
            return await super().run(job, on_progress, begins, may_return=may_return)
        if self._is_stopping and not self._free:
            return Interrupted()
        waiting = JobInLine(
            since=self._clock(), may_return=may_return, job=job, on_progress=on_progress, begins=begins
        )
        self._join(self._together, waiting)
        self._hand_out_soon()
        try:
            assigned = await self._assigned(waiting)
        except asyncio.CancelledError:
            await _end_if_unwanted(waiting)
            raise
        if isinstance(assigned, Outcome):
            return assigned
        return await self._run_in(assigned, waiting.job, on_progress, waiting.begins)

    def _free_slot(self, number: int) -> None:
        super()._free_slot(number)
        if self._together or self._line:
            self._hand_out_soon()

    def _hand_out_soon(self) -> None:
        """Schedule `_hand_out` for the next turn of the loop: jobs from one read of the socket share a batch."""
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._hand_out, context=Context())

    def _hand_out(self) -> None:
        self._is_scheduled = False
        while self._free and self._line:  # jobs that must run alone
            super()._free_slot(self._free.popleft())
        self._together = deque(one for one in self._together if not one.assigned.done())  # some left the line
        size = self.batch_size()
        while self._free and self._together:
            share = -(-len(self._together) // len(self._free))  # rounded up
            number = self._free.popleft()
            jobs = [self._together.popleft() for _ in range(min(share, size))]
            if len(jobs) == 1:
                jobs[0].assigned.set_result(number)
            else:
                self._begin(jobs, number)

    def _begin(self, jobs: Sequence[JobInLine], number: int) -> None:
        # An empty context: the batch belongs to no single job.
        batch = asyncio.create_task(self._run_batch(jobs, number), name="batch", context=Context())
        for waiting in jobs:
            waiting.batch, waiting.others = batch, jobs
        batch.add_done_callback(lambda _: self._end(jobs, number, batch))

    async def _run_batch(self, jobs: Sequence[JobInLine], number: int) -> Sequence[BatchOutcome]:
        """Run the jobs that were not cancelled meanwhile; return None for the cancelled ones."""
        wanted = [waiting for waiting in jobs if not waiting.assigned.done()]
        if not wanted:
            return [None] * len(jobs)
        self._taken(number, max(waiting.job.timeout_s for waiting in wanted), jobs=len(wanted))
        for waiting in wanted:
            waiting.begin(number)
        log_context.begin_batch([waiting.job.request for waiting in wanted], number)
        slot = self._batch_slots[number]
        outcomes = await slot.run_together([waiting.job for waiting in wanted], _to_all(wanted))
        self._metrics.batch(len(outcomes), sum(outcome is None for outcome in outcomes))
        found = dict(zip(map(id, wanted), outcomes, strict=True))
        return [found.get(id(waiting)) for waiting in jobs]

    def _end(self, jobs: Sequence[JobInLine], number: int, batch: asyncio.Task[Sequence[BatchOutcome]]) -> None:
        """Pass on the outcomes of a batch, and free its slot."""
        for place, waiting in enumerate(jobs):
            if waiting.assigned.done():  # its task was cancelled
                continue
            if batch.cancelled():
                waiting.assigned.cancel()
            elif error := batch.exception():
                waiting.assigned.set_exception(error)
            elif outcome := batch.result()[place]:
                waiting.assigned.set_result(outcome)
            else:
                waiting.may_return = False  # it has begun
                self._line.append(waiting)
        self._give_back(number)


async def _end_if_unwanted(waiting: JobInLine) -> None:
    """Cancel a batch if no job waits for it any more, and wait until it has ended."""
    if waiting.batch and all(other.assigned.done() for other in waiting.others):
        waiting.batch.cancel()
        await asyncio.wait({waiting.batch})


def _to_all(waiting: Sequence[JobInLine]) -> OnProgress:
    """Report the progress of the batch as that of each of its jobs."""
    callbacks = [one.on_progress for one in waiting if one.on_progress]

    def report(progress: Progress) -> None:
        for callback in callbacks:
            callback(progress)

    return report if callbacks else None
