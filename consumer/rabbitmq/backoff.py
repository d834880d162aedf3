"""Decides how long to wait before the next connection attempt, and which faults are logged.

Pure: callers pass in time and chance. Full jitter, so that a hundred consumers do not reconnect at the same
moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import uniform

#: A restart of RabbitMQ takes seconds; a producer should not wait much longer than that for its reply.
FIRST_S = 0.1
EARLY_CAP_S = 1.0
EARLY_S = 60.0
#: Later a tenth of the time of all outages since the last stable session, up to this.
LATE_CAP_S = 30.0
#: A shorter connection does not end the outage: the fault of the last one may have broken it, too.
STABLE_S = 60.0
#: How long the log does not repeat the same fault: the first and the longest interval.
QUIET_FIRST_S = 2.0
QUIET_LAST_S = 600.0


def ceiling_s(failures: int, trouble_s: float) -> float:
    """Compute the longest pause after so many failures in a row, in an outage of this duration."""
    cap = EARLY_CAP_S if trouble_s < EARLY_S else min(LATE_CAP_S, trouble_s / 10)
    return float(min(cap, FIRST_S * 2 ** min(failures, 20)))


@dataclass
class Trouble:
    """An outage, from the first lost connection to the first stable one: counts failures, chooses pauses.

    Mutable state: `failures`; `_quiet`, per fault when it may be logged again, and how long it is not logged then.
    """

    since: float
    failures: int = 0

    def __post_init__(self) -> None:
        self._quiet: dict[str, tuple[float, float]] = {}

    def pause_s(self, now: float, chance: Callable[[float, float], float] = uniform) -> float:
        """Choose the pause after one more failure."""
        pause = chance(0.0, ceiling_s(self.failures, now - self.since))
        self.failures += 1
        return pause

    def pass_over(self, life_s: float) -> None:
        """Exclude the time of a short session, because only the time of the outage determines the pauses."""
        self.since += life_s

    def is_worth_telling(self, fault: str, now: float) -> bool:
        """Whether to log a fault: a new one at once, a repeated one at growing intervals."""
        until, quiet_s = self._quiet.get(fault, (now, QUIET_FIRST_S))
        if now < until:
            return False
        self._quiet[fault] = (now + quiet_s, min(QUIET_LAST_S, quiet_s * 2))
        return True
