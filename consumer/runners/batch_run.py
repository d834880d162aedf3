"""One batch as its parent sees it: several jobs in one call of a function, and what that says of each of them.

What is printed during the call is the batch's, as nobody knows whose it is; only what the worker writes
afterwards answers, a line for each job, in their order. So ids may be the same, and no job can answer for another.
Of one that has no answer then, whatever the reason, nothing is concluded: it is run alone, and found out there.
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
    """Give what a batch may take: as much as one of its jobs, but that each of them may print.

    `limits` are those of the job with the shortest run time: so none is at work for longer than it may be alone.
    What goes over them is no job's fault yet, so they cannot be too strict, and the machine has no more to bear.
    """
    return replace(limits, max_stdout_bytes=jobs * limits.max_stdout_bytes)


class BatchRun(EnclosedRun[list[Told]]):
    """A run of several jobs at once.

    Mutable state besides: `answers`, the line of each job so far; `_is_answering`, set when these have begun.
    """

    def __init__(
        self, jobs: Sequence[Job], limits: Limits, on_log: Callable[[str], None], on_progress: OnProgress = None
    ) -> None:
        self.token = secrets.token_hex(8)  # foreign text could be printed by the function, and so must not know it
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
        """What it says then is the answer to a signal, and to no job."""
        return self._cause.done() and self._cause.result() is not Cause.EXITED

    def finish(self, returncode: int | None) -> None:
        """The worker ends its lines; one without an end was cut, and is no answer."""

    def told(self, cause: Cause, returncode: int | None, measure: Measure = None) -> list[Told]:
        """Say how each job ended; None for each of which the batch does not tell, and log why."""
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
        """Say why the batch, or some of it, was not answered: for the log, as it is no job's outcome."""
        for line in self.answers:
            if line.kind is LineKind.ALONE:
                return line.text
        outcome = self.concluded(cause, returncode, measure)
        return outcome.message if isinstance(outcome, Unsuccessful) else "interrupted"


def name_of(jobs: Sequence[Job]) -> str:
    """Name the jobs of a batch for the log."""
    return f"jobs {', '.join(job.request.id for job in jobs)}"
