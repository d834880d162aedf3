"""A fixed number of slots, each with at most one job or one batch of jobs, and the line of jobs that wait for one.

The pool never adds, removes or replaces a slot: a slot repairs itself after use. The pool measures how long slots
are held, and gives each run a deadline: its time limit and GRACE_S, the sum of all other waits of a run. A run
that misses its deadline is a bug of this service, or a process that the kernel cannot end. Its slot is lost until
a restart.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

from consumer.job import Interrupted, Job, Outcome
from consumer.runners.child import DRAIN_S, KILL_GRACE_S, LINGER_S
from consumer.runners.files.job_folder import PATIENCE_S
from consumer.runners.fork_client import ANSWER_TIMEOUT_S, START_TIMEOUT_S
from consumer.runners.run import OnProgress
from consumer.runners.run_times import RunTimes
from consumer.telemetry import log_context
from consumer.telemetry.metrics import Metrics

#: The sum of all waits of a run besides its time limit, in seconds: for disk space, for a new fork server and
#: worker, and for the end after the answer.
GRACE_S = PATIENCE_S + START_TIMEOUT_S + ANSWER_TIMEOUT_S + LINGER_S + KILL_GRACE_S + DRAIN_S

#: Called with a job and the number of its slot when the job begins; returns the job to run.
Begins: TypeAlias = Callable[[Job, int], Job]


class Slot(Protocol):
    async def run(self, job: Job, on_progress: OnProgress = None) -> Outcome:
        """Run one job to its outcome. `on_progress` receives its progress, returns at once and never raises."""


def as_it_is(job: Job, _slot: int) -> Job:
    return job


@dataclass(eq=False, slots=True, kw_only=True)
class InLine:
    """A job that has waited for a slot since the time `since`.

    `may_return`: whether it may leave the line and return to RabbitMQ's queue. `assigned` receives the number of
    its slot, or an outcome: `Interrupted` if the job leaves the line.
    """

    since: float
    may_return: bool
    assigned: asyncio.Future[Outcome | int] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


L = TypeVar("L", bound=InLine)


@dataclass(frozen=True, slots=True)
class Use:
    """A slot in use: how many jobs run in it, since when, and by when they must have ended."""

    jobs: int
    since: float
    deadline: float


class Pool:
    """Gives each job its own slot. Of several free slots, it chooses the one that has been free for longest.

    Mutable state: `_free`, the numbers of the free slots; `_line`, the jobs that wait for a slot; `_is_stopping`,
    set once no job may join the line; `_uses`, each slot in use; `times`, how long slots were held. Two events are
    cleared by the code that waits for them: `used`, set when a slot is taken, and `waits`, set when a job joins
    the line.
    """

    def __init__(
        self, slots: Sequence[Slot], metrics: Metrics, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.size = len(slots)
        self.slots = slots
        self.times = RunTimes()
        self.used = asyncio.Event()
        self.waits = asyncio.Event()
        self._metrics = metrics
        self._clock = clock
        self._free = deque(range(self.size))
        self._line: deque[InLine] = deque()
        self._uses: dict[int, Use] = {}
        self._is_stopping = False
        metrics.slots(busy=0, size=self.size)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.busy} busy, {self.size - self.busy} free>"

    @property
    def busy(self) -> int:
        return self.size - len(self._free)

    @property
    def most_together(self) -> int:
        """The most jobs that a slot may run at once."""
        return 1

    def overdue(self) -> int:
        """Count the slots whose run has missed its deadline."""
        now = self._clock()
        return sum(use.deadline < now for use in self._uses.values())

    def held_for(self, seconds: float) -> int:
        """Count the slots that have been in use for more than `seconds`."""
        since = self._clock() - seconds
        return sum(use.since < since for use in self._uses.values())

    def longest_wait_s(self) -> float | None:
        """Return the seconds that the first returnable job of the line has waited; None if no job may return."""
        since = next((one.since for one in self._waiting() if one.may_return), None)
        return None if since is None else self._clock() - since

    def return_waiting(self, *, even_again: bool) -> int:
        """Take waiting jobs out of the line, so that they return to RabbitMQ's queue; return their number.

        Their outcome is `Interrupted`. A job that has already returned once stays in the line. With `even_again`,
        at a stop, such jobs return as well, and so does every later job that finds no free slot.
        """
        self._is_stopping = self._is_stopping or even_again
        returning = [one for one in self._waiting() if even_again or one.may_return]
        for one in returning:
            one.assigned.set_result(Interrupted())
        return len(returning)

    def _waiting(self) -> Iterable[InLine]:
        """Return the jobs that wait for a slot and have not begun, in their order."""
        return (one for one in self._line if not one.assigned.done())

    async def run(
        self, job: Job, on_progress: OnProgress = None, begins: Begins = as_it_is, *, may_return: bool = True
    ) -> Outcome:
        """Wait for a slot, run the job in it, and return its outcome.

        A job that `may_return` can be taken out of the line by `return_waiting`.
        """
        if self._free:
            number = self._free.popleft()
        elif self._is_stopping:
            return Interrupted()
        else:
            waiting = InLine(since=self._clock(), may_return=may_return)
            self._join(self._line, waiting)
            assigned = await self._assigned(waiting)
            if isinstance(assigned, Outcome):
                return assigned
            number = assigned
        return await self._run_in(number, job, on_progress, begins)

    def _join(self, line: deque[L], one: L) -> None:
        """Add a job at the end of a line. A job that has returned to the queue before goes to the front."""
        (line.append if one.may_return else line.appendleft)(one)
        self.waits.set()

    async def _assigned(self, one: InLine) -> Outcome | int:
        """Wait for a slot's number or an outcome. If the wait is cancelled after a slot was assigned, free it."""
        try:
            return await one.assigned
        except asyncio.CancelledError:
            if not one.assigned.cancelled() and isinstance(number := one.assigned.result(), int):
                self._free_slot(number)
            raise

    async def _run_in(self, number: int, job: Job, on_progress: OnProgress, begins: Begins) -> Outcome:
        try:
            self._taken(number, job.timeout_s, jobs=1)
            return await self.slots[number].run(begun(job, number, begins), on_progress)
        finally:
            self._give_back(number)

    def _taken(self, number: int, timeout_s: float, *, jobs: int) -> None:
        now = self._clock()
        self._uses[number] = Use(jobs, now, now + timeout_s + GRACE_S)
        self.used.set()
        self._metrics.slots(busy=self.busy, size=self.size)

    def _give_back(self, number: int) -> None:
        """Record how long the slot was held, and free it."""
        if use := self._uses.pop(number, None):
            self.times.add(use.jobs, self._clock() - use.since)
        self._free_slot(number)

    def _free_slot(self, number: int) -> None:
        """Give the slot to the next job of the line, or mark it as free."""
        while self._line:
            if not (one := self._line.popleft()).assigned.done():
                one.assigned.set_result(number)
                return
        self._free.append(number)
        self._metrics.slots(busy=self.busy, size=self.size)


def begun(job: Job, number: int, begins: Begins) -> Job:
    """Put the slot's number into the log records of the job's task, and call `begins`."""
    log_context.move(number)
    return begins(job, number)
