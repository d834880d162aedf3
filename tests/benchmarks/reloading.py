"""How late jobs are while new code and models are loaded: two in flight, so that no queue hides it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import ours
from plan import tell
from running import MANY_JOBS, Host, Running, started
from workload import Workload

IN_FLIGHT = 2
#: What the service's log says when the new code and models serve.
RELOADED = "reloaded"
PATIENCE_S = 30.0
#: New workers do their first jobs after the log line.
AFTER_S = 1.0
LOOK_EVERY_S = 0.02
#: Jobs before the reload, to compare with; during it, as many as fit.
JOBS_BEFORE = 600


def p99_ratios(workload: Workload, host: Host) -> list[float]:
    """For each of some reloads, the p99 of jobs from SIGHUP until a second after it over that of jobs before."""
    with started(ours.OURS, workload, host, host.plan.slots) as running:
        running.warm_up()
        return [_p99_ratio(running) for _ in range(host.plan.turns)]


def _p99_ratio(running: Running) -> float:
    before = running.run(JOBS_BEFORE, IN_FLIGHT).latency_ms(0.99)
    told = _Told(running.log, RELOADED)
    running.process.send_signal(signal.SIGHUP)
    during = running.run(MANY_JOBS, IN_FLIGHT, enough=told).latency_ms(0.99)
    assert told.after_s, f"no {RELOADED!r} in the log after SIGHUP: {running.last_words()}"
    tell(f"p99 before a reload {before:.1f} ms, during it {during:.1f} ms")
    return during / before


class _Told:
    """Whether a text has come into a log from now on, and a second has passed since; or the patience is over."""

    def __init__(self, log: Path, text: str) -> None:
        self._log, self._text = log, text
        self._known = len(log.read_text())
        self._begun = self._looked = time.monotonic()
        self.after_s = 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self.after_s and now - self._looked > LOOK_EVERY_S:
            self._looked = now
            if self._text in self._log.read_text()[self._known :]:
                self.after_s = now - self._begun
        return now - self._begun > (self.after_s + AFTER_S if self.after_s else PATIENCE_S)
