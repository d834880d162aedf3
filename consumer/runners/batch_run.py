"""One run of several jobs in one call of a function, as the consumer sees it, and the outcome of each job.

Lines printed during the call belong to the whole batch, because their job is unknown. The answers are the lines
that the worker writes after the call, one for each job, in the order of the jobs. So two jobs may have the same
id, and no job can answer for another. A job without an answer gets no outcome here: it runs again alone.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from consumer.config.job_limits import Limits
from consumer.job import Interrupted, Job, Unsuccessful
from consumer.runners.answer import judged
from consumer.runners.output_parser import ContractLine, LineKind
from consumer.runners.run import Cause, EnclosedRun, Measure, OnProgress, Told

log = logging.getLogger(__name__)


def together(limits: Limits, jobs: int) -> Limits:
    """Return the limits of a batch: those of one job, except that each job may print its own amount.

    `limits` are those of the job with the shortest time limit, so no job runs for longer than it may alone. A
    batch that exceeds them fails no job: each then runs alone. So the limits cannot be too strict.
    """
    return replace(limits, max_stdout_bytes=jobs * limits.max_stdout_bytes)


class BatchRun(EnclosedRun[list[Told]]):
    """A run of several jobs at once.

    Mutable state besides that of Run: `answers`, the answer lines so far; `_is_answering`, set once they begin.
    """

    def __init__(
        self, jobs: Sequence[Job], limits: Limits, on_log: Callable[[str], None], on_progress: OnProgress = None
    ) -> None:
        self.token = secrets.token_hex(8)  # random: text from a job, printed by the function, cannot contain it
        super().__init__(self.token, limits, on_log, on_progress)
        self.name = name_of(jobs)
        self.answers: list[ContractLine] = []
        self._size = len(jobs)
        self._is_answering = False

    def take(self, line: ContractLine) -> None:
        """Take one line of stdout."""
        is_ours = self._begun and not self.ended.done() and not self._was_told_to_stop
        if is_ours and self._is_answering and line.kind in (LineKind.OUTPUT, LineKind.ERROR, LineKind.ALONE):
            self.answers.append(line)
        elif line.kind is LineKind.ANSWERS and line.content == self._enclosing:
            self._is_answering = is_ours
        elif not line.kind.answers:
            super().take(line)
            if self.ended.done():
                self.end(Cause.ANSWERED)

    @property
    def _was_told_to_stop(self) -> bool:
        """Whether the worker was stopped: lines after that respond to the signal, and answer no job."""
        return self._cause.done() and self._cause.result() is not Cause.EXITED

    def finish(self, returncode: int | None) -> None:
        """Ignore an unfinished last line: the worker ends each answer with a line break."""

    def told(self, cause: Cause, returncode: int | None, measure: Measure = None) -> list[Told]:
        """Return the outcome of each job; None for a job without an answer, and log the reason."""
        unanswered: Told = Interrupted(run_s=self.age_s) if cause is Cause.INTERRUPTED else None
        told = [None if line.kind is LineKind.ALONE else judged(line, run_s=self.age_s) for line in self.answers]
        told = [*told, *[unanswered] * (self._size - len(told))][: self._size]
        if alone := told.count(None):
            why = self.why_not(cause, returncode, measure)
            log.warning(
                "%s: %d of them run again, each alone: %s", self.name, alone, why, extra={"event": "batch_broken"}
            )
        return told

    def why_not(self, cause: Cause, returncode: int | None, measure: Measure = None) -> str:
        """Return why jobs of the batch have no answer. It is only logged, because it is no job's outcome."""
        for line in self.answers:
            if line.kind is LineKind.ALONE:
                return line.text
        outcome = self.concluded(cause, returncode, measure)
        return outcome.message if isinstance(outcome, Unsuccessful) else "interrupted"


def name_of(jobs: Sequence[Job]) -> str:
    """Name the jobs of a batch for the log."""
    return f"jobs {', '.join(job.request.id for job in jobs)}"
