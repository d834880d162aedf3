"""A run of several jobs in one call of a function, in a warm worker.

Lines printed during the call of a batch belong to the
whole batch, because their job is unknown. The worker answers after the call, with one line for each job, in the
order of the jobs. So two jobs may have the same id, and no job can answer for another. A job without an answer
gets no outcome here: it runs again alone.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from consumer.config.job_limits import Limits
from consumer.job import Interrupted, Job, Outcome, Unsuccessful
from consumer.runners.answer import judged
from consumer.runners.output_parser import ContractLine, LineKind
from consumer.runners.run import Cause, OnProgress
from consumer.runners.worker import WorkerRun

log = logging.getLogger(__name__)

#: The outcome of a job in a batch; None if the batch gives none, and the job must run alone.
BatchOutcome: TypeAlias = Outcome | None


class BatchRun(WorkerRun):
    """A run of several jobs at once.

    Mutable state besides that of Run: `answers`, the answer lines so far; `_is_answering`, set once they begin.
    """

    def __init__(
        self, jobs: Sequence[Job], limits: Limits, on_log: Callable[[str], None], on_progress: OnProgress = None
    ) -> None:
        self.token = secrets.token_hex(8)  # random: text from a job, printed by the function, cannot contain it
        super().__init__(self.token, name_of(jobs), limits, on_log, on_progress)
        self.answers: list[ContractLine] = []
        self._size = len(jobs)
        self._is_answering = False

    def take(self, line: ContractLine) -> None:
        is_ours = self._begun and not self.ended.done() and not self._was_stopped
        if is_ours and self._is_answering and line.kind in (LineKind.OUTPUT, LineKind.ERROR, LineKind.ALONE):
            self.answers.append(line)
        elif line.kind is LineKind.ANSWERS and line.content == self._enclosing:
            self._is_answering = is_ours
        elif not line.kind.answers:
            super().take(line)
            if self.ended.done():
                self.end(Cause.ANSWERED)

    @property
    def _was_stopped(self) -> bool:
        """Whether the consumer has stopped the worker. Later lines react to the signal, and answer no job."""
        return self._cause.done() and self._cause.result() is not Cause.EXITED

    def finish(self, returncode: int | None) -> None:
        """Ignore an unfinished last line: the worker ends each answer with a line break."""

    def outcomes(self, cause: Cause, returncode: int | None) -> list[BatchOutcome]:
        """Return the outcome of each job; None for a job without an answer, and log the reason."""
        unanswered: BatchOutcome = Interrupted(run_s=self.age_s) if cause is Cause.INTERRUPTED else None
        found = [None if line.kind is LineKind.ALONE else judged(line, run_s=self.age_s) for line in self.answers]
        outcomes = [*found, *[unanswered] * (self._size - len(found))][: self._size]
        if alone := outcomes.count(None):
            why = self.why_unanswered(cause, returncode)
            log.warning(
                "%s: %d of them run again, each alone: %s", self.name, alone, why, extra={"event": "batch_broken"}
            )
        return outcomes

    def why_unanswered(self, cause: Cause, returncode: int | None) -> str:
        """Return why jobs of the batch have no answer. It is only logged, because it is no job's outcome."""
        for line in self.answers:
            if line.kind is LineKind.ALONE:
                return line.text
        outcome = self.outcome(cause, returncode)
        return outcome.message if isinstance(outcome, Unsuccessful) else "interrupted"


def together(limits: Limits, jobs: int) -> Limits:
    """Return the limits of a batch: those of one job, but with the output limit of all jobs together.

    `limits` are those of the job with the shortest time limit, so no job runs for longer than it may alone. If a
    batch exceeds them, no job fails; each then runs alone.
    """
    return replace(limits, max_stdout_bytes=jobs * limits.max_stdout_bytes)


def name_of(jobs: Sequence[Job]) -> str:
    return f"jobs {', '.join(job.request.id for job in jobs)}"
