"""Logs replies that no queue accepted. It does not log each of them, because a lost producer causes many.

The metric `replies.unroutable` counts all of them, and each such job has its own line about its end
(job_lines.py).
"""

from __future__ import annotations

import logging
import time

from consumer.telemetry.allowance import Allowance

log = logging.getLogger(__name__)

#: Enough lines to show which jobs and which queue are affected.
BURST_LINES = 10
#: After these, one line in ten seconds. It has the number of replies without a line.
LINES_PER_S = 0.1


class UndeliverableReplies:
    """Logs replies that no queue has accepted, but not each of them.

    Mutable state: `_allowance`; `_left_out`, the number of replies since the last line.
    """

    def __init__(self, now: float | None = None) -> None:
        self._allowance = Allowance(BURST_LINES, LINES_PER_S, time.monotonic() if now is None else now)
        self._left_out = 0

    def note(self, job_id: str, why: str, now: float | None = None) -> None:
        """Log a reply, or count it for the next line. `now` is a time of `time.monotonic`."""
        if not self._allowance.admits(time.monotonic() if now is None else now):
            self._left_out += 1
            return
        others = f"; {self._left_out} more since the last such line" if self._left_out else ""
        self._left_out = 0
        event = {"event": "reply_undeliverable"}
        log.warning("job %s: the reply was not delivered: %s%s", job_id, why, others, extra=event)
