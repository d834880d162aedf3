"""The contenders of one workload take turns: A B C, A B C, ... with the processes that were started for them.

All are alive at the same time and idle but for the one whose turn it is, so that what is compared was measured
seconds apart. A contender that fails is out, with its reason; the others go on.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from contender import Contender
from load import UnexpectedReplyError
from loop import Loop
from plan import tell
from results import LOOP, Row, Sample, Table
from running import Host, Running, VerificationError, started
from workload import Workload

#: What a contender may do wrong without ending the benchmark.
FAULTS = (VerificationError, UnexpectedReplyError, OSError, EOFError)


class Subject(Protocol):
    """What can take turns: `Running` and `Loop`."""

    process: subprocess.Popen[bytes]

    def warm_up(self) -> float: ...
    def sample(self) -> Sample: ...
    def memory_mb(self) -> float: ...


@dataclass
class Rotation:
    """The turns of one workload. Mutable state: `_alive`, who takes part, by the key of the row."""

    workload: Workload
    host: Host
    table: Table
    _alive: dict[str, Subject] = field(default_factory=dict)

    def run(self, contenders: Sequence[Contender]) -> None:
        """Measure everything that can run here."""
        loop_row = Row(LOOP, "in-process loop, no broker")
        self.table.rows = [*(self._row(contender) for contender in contenders), loop_row]
        with ExitStack() as stack:
            for contender, row in zip(contenders, self.table.rows, strict=False):
                if not row.skipped:
                    self._start(stack, contender, row)
            self._enter(stack.enter_context(Loop.started(self.workload, self.host.plan.burst_s)), loop_row)
            for turn in range(self.host.plan.turns):
                self._turn(turn)
            for row in self.table.rows:
                slots = 1 if row is loop_row else self.host.plan.slots
                self._guarded(row, lambda subject, row: row.pss_mb.update({slots: subject.memory_mb()}))  # noqa: B023
            for subject in self._alive.values():
                subject.process.terminate()  # all at once: one after the other, it takes half a minute

    def _row(self, contender: Contender) -> Row:
        skipped = contender.missing(self.workload) or self.host.plan.leaves_out(contender.key)
        return Row(contender.key, contender.title, skipped=skipped)

    def _start(self, stack: ExitStack, contender: Contender, row: Row) -> None:
        tell(f"{self.workload.name}: starting {row.title}")
        try:
            running = stack.enter_context(started(contender, self.workload, self.host, self.host.plan.slots))
        except FAULTS as fault:  # not even its queue could be declared
            self._failed(row, fault)
        else:
            self._enter(running, row)

    def _enter(self, subject: Subject, row: Row) -> None:
        self._alive[row.key] = subject

        def warm_up(subject: Subject, row: Row) -> None:
            row.start_s = subject.warm_up()

        self._guarded(row, warm_up)

    def _turn(self, turn: int) -> None:
        # Whoever is next to a noisy moment is another one each time.
        shift = turn * 4 % len(self.table.rows)
        for row in [*self.table.rows[shift:], *self.table.rows[:shift]]:
            self._guarded(row, lambda subject, row: row.samples.append(subject.sample()))
            if len(row.samples) > turn:
                rate = row.samples[-1]["jobs_per_s"]
                tell(f"{self.workload.name}, turn {turn + 1}: {row.title}: {rate:.1f} jobs/s")

    def _guarded(self, row: Row, step: Callable[[Subject, Row], None]) -> None:
        """Take a step with a row's contender; if that fails, the contender is out."""
        if (subject := self._alive.get(row.key)) is None:
            return
        try:
            step(subject, row)
        except FAULTS as fault:
            del self._alive[row.key]
            self._failed(row, fault)
            if isinstance(subject, Running):
                tell(f"the end of its output:\n{subject.last_words()}")

    def _failed(self, row: Row, fault: Exception) -> None:
        row.failed = f"{type(fault).__name__}: {fault}"
        tell(f"{self.workload.name}: {row.title}: FAILED: {row.failed}")
