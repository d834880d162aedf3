"""The contenders of one workload take turns: A B C, A B C, ... in some rounds, each round with fresh processes.

All are alive at the same time and idle but for the one whose turn it is, so that what is compared was measured
seconds apart. A contender that fails is out, with its reason; the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

import ours
import peers
from contender import Contender
from load import UnexpectedReplyError
from loop import Loop
from plan import tell
from results import LOOP, Row, Table
from running import Host, Running, VerificationError, started, vhost
from workload import Workload

#: What a contender may do wrong without ending the benchmark.
FAULTS = (VerificationError, UnexpectedReplyError, OSError, EOFError)


def _roster(workload: Workload) -> list[Contender]:
    """Who takes part, in the order of the table; the in-process loop comes before them."""
    onnx = [] if workload.onnx is None else [ours.FRESH_ONNX, ours.OURS_ONNX]
    slow = [peers.AMQP_CONSUME, ours.EXEC]
    return [*slow, peers.CELERY, peers.FASTSTREAM, ours.FRESH, ours.OURS, ours.BATCHES, *onnx]


class Subject(Protocol):
    """What can take turns: `Running` and `Loop`."""

    def first_reply(self, row: Row) -> None: ...
    def warm_up(self, row: Row) -> None: ...
    def sample(self, row: Row, turn: int) -> None: ...
    def finish(self, row: Row) -> None: ...


@dataclass
class Rotation:
    """The rounds of one workload. Mutable state: `_alive`, who takes turns in this round."""

    workload: Workload
    host: Host
    table: Table
    _alive: dict[str, Subject] = field(default_factory=dict)

    def run(self) -> None:
        """Measure everything that can run here."""
        entered = [(contender, self._row(contender)) for contender in _roster(self.workload)]
        able = [(contender, row) for contender, row in entered if not row.skipped]
        loop_row = Row(LOOP, "in-process loop, no broker")
        self.table.rows = [loop_row, *(row for _, row in entered)]
        with ExitStack() as vhosts:
            urls = {contender.key: vhosts.enter_context(vhost(self.host.node)) for contender, _ in able}
            for number in range(self.host.plan.rounds):
                tell(f"{self.workload.name}: round {number + 1} of {self.host.plan.rounds}, starting")
                with ExitStack() as stack:
                    self._round(stack, number, loop_row, able, urls)

    def _row(self, contender: Contender) -> Row:
        skipped = contender.missing(self.workload) or self.host.plan.leaves_out(contender.key)
        row = Row(contender.key, contender.title, skipped=skipped)
        if row.skipped:
            tell(f"{self.workload.name}: {row.title}: not run: {row.skipped}")
        return row

    def _round(
        self,
        stack: ExitStack,
        number: int,
        loop_row: Row,
        able: Sequence[tuple[Contender, Row]],
        urls: dict[str, str],
    ) -> None:
        self._alive.clear()
        loop = stack.enter_context(Loop.started(self.workload, self.host.plan.burst_s))
        self._enter(loop, loop_row)
        fast = [(contender, row) for contender, row in able if not contender.slow]
        for contender, row in fast:
            if not row.failed:
                self._start(stack, contender, row, urls)
        first = number * self.host.plan.turns
        for turn in range(first, first + self.host.plan.turns):
            self._turn(turn, [loop_row, *(row for _, row in fast)])
        for contender, row in able:
            if contender.slow and not row.failed:
                with ExitStack() as alone:
                    self._start(alone, contender, row, urls)
                    self._turn(first, [row])
                self._alive.pop(row.key, None)  # there is no tree whose memory could be told
        for row in self.table.rows:
            self._guarded(row, lambda subject, row: subject.finish(row))

    def _start(self, stack: ExitStack, contender: Contender, row: Row, urls: dict[str, str]) -> None:
        try:
            block = started(contender, self.workload, self.host, urls[contender.key], self.host.plan.slots)
            running = stack.enter_context(block)
        except FAULTS as fault:  # not even its queue could be declared
            self._failed(row, fault)
        else:
            self._enter(running, row)

    def _enter(self, subject: Subject, row: Row) -> None:
        self._alive[row.key] = subject
        self._guarded(row, lambda subject, row: subject.first_reply(row))
        self._guarded(row, lambda subject, row: subject.warm_up(row))

    def _turn(self, turn: int, rows: Sequence[Row]) -> None:
        # Whoever is next to a noisy moment is another one each time.
        shift = turn % len(rows)
        for row in [*rows[shift:], *rows[:shift]]:
            self._guarded(row, lambda subject, row: subject.sample(row, turn))
            if row.samples and row.key in self._alive:
                tell(f"{self.workload.name}: {row.title}: {row.samples[-1].jobs_per_s:.1f} jobs/s")

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
