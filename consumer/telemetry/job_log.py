"""Writes a classifier's LOG: lines to the service's log with the job's id, at a limited rate.

A batch's lines are written once, with the ids of all its jobs. Each job or batch has an allowance of lines that
refills over time, which admits a burst or a slow stream. Lines beyond the allowance are dropped and counted, so
that one job can neither fill a disk nor hide other log lines.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from consumer.telemetry.allowance import Allowance

log = logging.getLogger(__name__)

#: Enough for a verbose classifier. Nobody reads more lines of one job at once.
BURST_LINES = 200
#: Enough for a job that logs its progress ten times a second until its end.
LINES_PER_S = 10.0


class JobLog:
    """Writes the lines of one job or batch. `name`: the text before each line.

    Mutable state: `_allowance`; `_dropped`, the number of lines dropped since the last one that passed.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._allowance = Allowance(BURST_LINES, LINES_PER_S, clock())
        self._dropped = 0

    def __call__(self, text: str) -> None:
        """Write one line, or drop and count it."""
        if not self._allowance.admits(self._clock()):
            self._dropped += 1
            return
        self.close()
        log.info("%s: %s", self._name, text, extra={"event": "job_log"})

    def close(self) -> None:
        """Log how many lines were dropped since the last written one. The run calls this at its end."""
        if self._dropped:
            log.warning(
                "%s: ... and %d more LOG lines were dropped",
                self._name,
                self._dropped,
                extra={"event": "job_log_dropped"},
            )
            self._dropped = 0
