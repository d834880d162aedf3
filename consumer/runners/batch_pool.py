"""Slots that take several waiting jobs at once: stands in for the pool where `batch_size` is more than 1.

A free slot takes the jobs that wait at this moment, up to `batch_size`, and never waits for more. It leaves none
of them to another free slot: what a call costs once is the reason for batches, and is then paid once. A place in a
batch looks like a slot of one's own: who has it brings a job and gets its outcome. A job that its batch does not
tell the outcome of is run again alone, before those that have not run yet: nobody but the job itself decides how
it ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import Protocol

from consumer.job import Job, Outcome
from consumer.runners.runner import Slot
from consumer.telemetry import log_context

#: Hears how many jobs a batch had, and how many of them are run again alone.
OnBatch = Callable[[int, int], None]


class BatchSlot(Slot, Protocol):
    """A slot that can run several jobs at once."""

    async def run_together(self, jobs: Sequence[Job], interrupt: asyncio.Future[None]) -> Sequence[Outcome | None]:
        """Run them to their outcomes, in their order; None for each that is to be run alone."""


class BatchPool:
    """Hands out places; those that share a slot get them together.

    Mutable state: `_free`, the slots that nobody holds, the one free for longest first; `_line`, who waits for a
    seat in a batch; `_alone`, who waits for a slot to share with nobody; `_is_due`, while handing out is due.
    """

    def __init__(self, slots: Sequence[BatchSlot], *, batch_size: int, on_batch: OnBatch) -> None:
        self.size = len(slots)
        self.on_batch = on_batch
        self._batch_size = batch_size
        self._free = deque(enumerate(slots))
        self._line: deque[asyncio.Future[Batch]] = deque()
        self._alone: deque[asyncio.Future[Batch]] = deque()
        self._is_due = False

    def __repr__(self) -> str:
        waiting = len(self._line) + len(self._alone)
        return f"<BatchPool {self.busy} busy, {self.size - self.busy} free, {waiting} waiting>"

    @property
    def busy(self) -> int:
        """How many slots are held, whatever the number of their jobs."""
        return self.size - len(self._free)

    def number(self, place: Slot) -> int:
        """Say which slot a place is at, from 0."""
        if not isinstance(place, BatchPlace):
            raise TypeError(f"{place!r} is no place of this pool")
        return place.number

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[BatchPlace]:
        """Hold a place for the block; wait in line for it."""
        place = BatchPlace(self, await self.wait(alone=False))
        try:
            yield place
        finally:
            place.leave()

    async def wait(self, *, alone: bool) -> Batch:
        """Wait for a seat in a batch; or, before all who do so, for one that is shared with nobody."""
        seat: asyncio.Future[Batch] = asyncio.get_running_loop().create_future()
        (self._alone if alone else self._line).append(seat)
        self._hand_out_soon()
        try:
            return await seat
        except asyncio.CancelledError:
            if not seat.cancelled():  # it had come already
                seat.result().leave()
            raise

    def release(self, number: int, slot: BatchSlot) -> None:
        """Take a slot back from a batch that has ended."""
        self._free.append((number, slot))
        self._hand_out_soon()

    def _hand_out_soon(self) -> None:
        """In the loop's next turn: those who come in one turn, from one read of the socket, wait together."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._hand_out, context=Context())

    def _hand_out(self) -> None:
        self._is_due = False
        self._line, self._alone = map(_still_waiting, (self._line, self._alone))
        while self._free and (seats := self._next()):
            number, slot = self._free.popleft()
            batch = Batch(self, number, slot, size=len(seats))
            for seat in seats:
                seat.set_result(batch)

    def _next(self) -> list[asyncio.Future[Batch]]:
        """Take who is to share the next free slot."""
        if self._alone:
            return [self._alone.popleft()]
        return [self._line.popleft() for _ in range(min(len(self._line), self._batch_size))]


def _still_waiting(line: deque[asyncio.Future[Batch]]) -> deque[asyncio.Future[Batch]]:
    """Leave out who has given up."""
    return deque(seat for seat in line if not seat.done())


@dataclass(eq=False, frozen=True)
class Brought:
    """A job in a batch, and its outcome to come: None if it is to be run alone."""

    job: Job
    interrupt: asyncio.Future[None]
    outcome: asyncio.Future[Outcome | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class BatchPlace:
    """One job's place, in a batch first and then, if need be, alone. Mutable state: the batch that it is in."""

    def __init__(self, pool: BatchPool, batch: Batch) -> None:
        self.number = batch.number
        self._pool = pool
        self._batch: Batch | None = batch

    async def run(self, job: Job, interrupt: asyncio.Future[None]) -> Outcome:
        """Run the job to its outcome. To be called once."""
        if (batch := self._batch) is None:
            raise RuntimeError("the place was left")
        outcome = await batch.run(job, interrupt)
        if outcome is not None:
            return outcome
        self.leave()
        self._batch = alone = await self._pool.wait(alone=True)
        self.number = alone.number
        log_context.move(alone.number)
        return await alone.slot.run(job, interrupt)

    def leave(self) -> None:
        """Give the place back."""
        if self._batch:
            self._batch.leave()
            self._batch = None


class Batch:
    """Who holds one slot together, from their seats to their outcomes.

    It runs when everybody has brought a job or left: after being seated nobody waits for anything before that.

    Mutable state: `_seated`, how many hold the slot; `_brought`, what they have brought; `_running`, the task that
    runs it all.
    """

    def __init__(self, pool: BatchPool, number: int, slot: BatchSlot, *, size: int) -> None:
        self.number = number
        self.slot = slot
        self._pool = pool
        self._size = self._seated = size
        self._brought: list[Brought] = []
        self._running: asyncio.Task[Sequence[Outcome | None]] | None = None

    async def run(self, job: Job, interrupt: asyncio.Future[None]) -> Outcome | None:
        """Run one job with the others; None if it is to be run alone. Who has no others is alone already."""
        if self._size == 1:
            return await self.slot.run(job, interrupt)
        brought = Brought(job, interrupt)
        self._brought.append(brought)
        self._begin_if_complete()
        try:
            return await brought.outcome
        except asyncio.CancelledError:
            await self._end_if_unwanted()
            raise

    def leave(self) -> None:
        """One less holds the slot. The last one gives it back."""
        self._seated -= 1
        if self._seated == 0:
            self._pool.release(self.number, self.slot)
        else:
            self._begin_if_complete()

    def _begin_if_complete(self) -> None:
        if self._running:
            return
        self._brought = [brought for brought in self._brought if not brought.outcome.cancelled()]
        if len(self._brought) == self._seated:
            # An empty context: the batch is no single job's business.
            self._running = asyncio.create_task(self._run(), name="batch", context=Context())
            self._running.add_done_callback(self._tell)

    async def _run(self) -> Sequence[Outcome | None]:
        jobs = [brought.job for brought in self._brought]
        log_context.begin_batch([job.request for job in jobs], self.number)
        outcomes = await self.slot.run_together(jobs, self._brought[0].interrupt)  # which is everybody's
        self._pool.on_batch(len(jobs), sum(outcome is None for outcome in outcomes))
        return outcomes

    def _tell(self, run: asyncio.Task[Sequence[Outcome | None]]) -> None:
        for number, brought in enumerate(self._brought):
            if brought.outcome.done():  # its task was cancelled
                continue
            if run.cancelled():
                brought.outcome.cancel()
            elif error := run.exception():
                brought.outcome.set_exception(error)
            else:
                brought.outcome.set_result(run.result()[number])

    async def _end_if_unwanted(self) -> None:
        """Nobody waits any more: the run ends before its slot is given back."""
        if self._running and all(brought.outcome.done() for brought in self._brought):
            self._running.cancel()
            await asyncio.wait({self._running})
