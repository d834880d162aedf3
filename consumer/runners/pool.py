"""A fixed number of slots, each with at most one job or one batch of jobs.

The pool never adds, removes or replaces a slot: a slot repairs itself after use. The pool also knows when each run
must have ended at the latest. Every wait of a run is bounded, and GRACE_S is the sum of these bounds. A run that
exceeds it is a bug of this service, or a process that the kernel cannot end. Its slot is lost until a restart.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from consumer.job import Job, Outcome
from consumer.runners.child import DRAIN_S, KILL_GRACE_S, LINGER_S
from consumer.runners.files.job_folder import PATIENCE_S
from consumer.runners.fork_client import ANSWER_TIMEOUT_S, START_TIMEOUT_S
from consumer.runners.run import OnProgress
from consumer.telemetry import log_context
from consumer.telemetry.metrics import Metrics

#: Before the run: waits for space for its file and for a worker, with a new fork server. After it: waits for its
#: end.
GRACE_S = PATIENCE_S + START_TIMEOUT_S + ANSWER_TIMEOUT_S + LINGER_S + KILL_GRACE_S + DRAIN_S

#: Called when a job gets this slot and begins; returns the job to run.
Begins: TypeAlias = Callable[[Job, int], Job]
T = TypeVar("T")


class Slot(Protocol):
    """One slot of the pool."""

    async def run(self, job: Job, on_progress: OnProgress = None) -> Outcome:
        """Run one job to its outcome. `on_progress` receives its progress, returns at once and never raises."""


def as_it_is(job: Job, _slot: int) -> Job:
    """Return the job unchanged."""
    return job


class Pool:
    """Gives each job its own slot, first the one that has been free for longest.

    Mutable state: `_free`, the numbers of the free slots; `_waiting`, the futures of waiting jobs; `_due`, for
    each slot in use the time by which its run must have ended.
    """

    def __init__(
        self, slots: Sequence[Slot], metrics: Metrics, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.size = len(slots)
        self.slots = slots
        self._metrics = metrics
        self._clock = clock
        self._free = deque(range(self.size))
        self._waiting: deque[asyncio.Future[Any]] = deque()  # each gets a number
        self._due: dict[int, float] = {}
        metrics.slots(busy=0, size=self.size)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.busy} busy, {self.size - self.busy} free>"

    @property
    def busy(self) -> int:
        """The number of slots in use."""
        return self.size - len(self._free)

    def overdue(self) -> int:
        """Count the slots whose run should have ended by now."""
        now = self._clock()
        return sum(due < now for due in self._due.values())

    async def run(self, job: Job, on_progress: OnProgress = None, begins: Begins = as_it_is) -> Outcome:
        """Wait for a slot, run the job in it, and return its outcome."""
        if self._free:
            number = self._free.popleft()
        else:
            waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            number = await self._given(waiting)
        return await self._run_in(number, job, on_progress, begins)

    async def _given(self, number: asyncio.Future[T]) -> T:
        """Wait for the number of a slot. If cancelled just after it was assigned, give the slot back."""
        try:
            return await number
        except asyncio.CancelledError:
            if not number.cancelled() and isinstance(given := number.result(), int):
                self._give_back(given)
            raise

    async def _run_in(self, number: int, job: Job, on_progress: OnProgress, begins: Begins) -> Outcome:
        try:
            self._taken(number, job.timeout_s)
            return await self.slots[number].run(begun(job, number, begins), on_progress)
        finally:
            self._give_back(number)

    def _taken(self, number: int, timeout_s: float) -> None:
        self._due[number] = self._clock() + timeout_s + GRACE_S
        self._metrics.slots(busy=self.busy, size=self.size)

    def _give_back(self, number: int) -> None:
        """Give the slot to a waiting job, or mark it as free."""
        self._due.pop(number, None)
        while self._waiting:
            if not (waiting := self._waiting.popleft()).done():
                waiting.set_result(number)
                return
        self._free.append(number)
        self._metrics.slots(busy=self.busy, size=self.size)


def begun(job: Job, number: int, begins: Begins) -> Job:
    """Put the slot's number into the log records of the job's task, and call `begins`."""
    log_context.move(number)
    return begins(job, number)
