"""Writes a line to the log when a job starts and one when its delivery is settled.

At high rates nobody reads a line for each job, and writing it takes a good part of the CPU that a short job takes
of this process. So by default (`log_jobs`) the lines of jobs that succeeded are limited in number; summary.py
reports how many were left out. Failures always have their line. Each job takes this path, so a line that is not
written costs no more than the check.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from consumer.config.operation_settings import LogJobs
from consumer.disposition import Settlement
from consumer.job import Job, Outcome, Request, Unsuccessful
from consumer.telemetry.allowance import Allowance

log = logging.getLogger(__name__)

#: With `log_jobs` = auto: a file of jobs that somebody tries out has all its lines.
BURST_LINES = 200
#: And this is what a person can follow, or a log store takes without a thought: 2 MB an hour.
LINES_PER_S = 10.0


class JobLines:
    """Writes the lines of all jobs of one consumer, which `consumer` names.

    Mutable state: `left_out`, how many lines of jobs that succeeded were not written; `_allowance`.
    """

    def __init__(self, chosen: LogJobs, consumer: str, *, now: float | None = None) -> None:
        self.consumer = consumer
        self.left_out = 0
        self._chosen = chosen
        self._allowance = Allowance(BURST_LINES, LINES_PER_S, time.monotonic() if now is None else now)

    def started(self, job: Job, slot: int) -> None:
        """Write, at DEBUG, that a job starts in a slot."""
        if log.isEnabledFor(logging.DEBUG):
            fields = {"event": "job_started", "consumer": self.consumer}
            log.debug(
                "job %s: attempt %d starts in slot %d", job.request.id, job.request.attempt, slot, extra=fields
            )

    def settled(
        self, request: Request, outcome: Outcome, settlement: Settlement, *, received_at: float, now: float
    ) -> None:
        """Write how a job ended. Times are of `time.monotonic`."""
        is_failure = isinstance(outcome, Unsuccessful)
        level = logging.WARNING if is_failure else logging.INFO
        if not log.isEnabledFor(level):
            return
        if not (is_failure or self._is_wanted(now)):
            self.left_out += 1
            return
        name, how = type(outcome).__name__, settlement.value
        if request.attempt > 1:
            name = f"{name} at attempt {request.attempt}"
        ending = (
            f": {outcome.message}" if isinstance(outcome, Unsuccessful) else f" after {_ms(outcome.run_s):.0f} ms"
        )
        fields = self._fields(request, outcome, settlement, now - received_at)
        log.log(level, "job %s: %s, %s%s", request.id, name, how, ending, extra={"event": "job_settled", **fields})

    def _is_wanted(self, now: float) -> bool:
        return self._chosen == "all" or (self._chosen == "auto" and self._allowance.admits(now))

    def _fields(
        self, request: Request, outcome: Outcome, settlement: Settlement, total_s: float
    ) -> dict[str, Any]:
        """Return the fields for a record in JSON; log_context.py adds those of the job itself.

        `wait_ms` is the time in the queue: it is known only if the producer set a timestamp, in whole seconds.
        """
        fields: dict[str, Any] = {
            "outcome": type(outcome).__name__,
            "settlement": settlement.value,
            "run_ms": _ms(outcome.run_s),
            "total_ms": _ms(total_s),
            "consumer": self.consumer,
        }
        if isinstance(outcome, Unsuccessful):
            fields["code"] = outcome.code.value
        if request.sent_at is not None:
            fields["wait_ms"] = _ms(max(0.0, time.time() - total_s - request.sent_at))
        return fields


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
