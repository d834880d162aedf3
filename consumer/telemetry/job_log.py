"""LOG: lines on their way to the service's log: under the job's id, and no more than a log can take.

Those of a batch go there once, under the ids of all its jobs. Each job, or batch, has an allowance that fills up
again with time: a burst passes, a steady trickle passes, a flood is dropped and counted, so that one job can
neither fill a disk nor bury what the others say.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

#: What a chatty classifier says about one job; more, at once, nobody reads.
BURST_LINES = 200
#: Progress told ten times a second goes on for as long as the job does.
LINES_PER_S = 10.0


class JobLog:
    """Writes the lines of one job, or of a batch; `name` says which.

    Mutable state: `_allowance`, how many lines may pass now, and since when it has not been filled up;
    `_dropped`, how many did not pass since one did.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._allowance = float(BURST_LINES)
        self._filled_at = clock()
        self._dropped = 0

    def __call__(self, text: str) -> None:
        """Write one line, or count it."""
        now = self._clock()
        self._allowance = min(BURST_LINES, self._allowance + (now - self._filled_at) * LINES_PER_S)
        self._filled_at = now
        if self._allowance < 1:
            self._dropped += 1
            return
        self._allowance -= 1
        self.close()
        log.info("%s: %s", self._name, text, extra={"event": "job_log"})

    def close(self) -> None:
        """Tell what was dropped since the last line that was not; at the end of the run at the latest."""
        if self._dropped:
            log.warning(
                "%s: ... and %d more LOG lines were dropped",
                self._name,
                self._dropped,
                extra={"event": "job_log_dropped"},
            )
            self._dropped = 0
