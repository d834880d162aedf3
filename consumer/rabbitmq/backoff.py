"""Decides how long to wait before the next connection attempt, and which faults are logged.

Pure: callers pass in the time and the random function. The pauses have full jitter, so that a hundred consumers do
not reconnect at the same moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import uniform

#: Early pauses are short: a restart of RabbitMQ takes seconds, and producers wait for their replies.
FIRST_S = 0.1
EARLY_CAP_S = 1.0
EARLY_S = 60.0
#: Later pauses are up to a tenth of the outage so far, and at most this.
LATE_CAP_S = 30.0
#: Seconds after which a session ends the outage. A shorter session may have failed by the same fault.
STABLE_S = 60.0
#: The first and the longest interval in which the log does not repeat a fault.
QUIET_FIRST_S = 2.0
QUIET_LAST_S = 600.0


def ceiling_s(failures: int, outage_s: float) -> float:
    """Compute the longest pause after `failures` failures in a row, `outage_s` seconds into an outage."""
    cap = EARLY_CAP_S if outage_s < EARLY_S else min(LATE_CAP_S, outage_s / 10)
    return float(min(cap, FIRST_S * 2 ** min(failures, 20)))


@dataclass
class Outage:
    """An outage, from the first lost connection to the first stable one: counts failures, chooses pauses.

    Mutable state: `failures`; `_quiet`, for each fault, when it may be logged again and the interval after that.
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

    def exclude(self, session_s: float) -> None:
        """Exclude the duration of a short session. Only the time without a connection determines the pauses."""
        self.since += session_s

    def is_worth_logging(self, fault: str, now: float) -> bool:
        """Return whether to log a fault: a new one at once, a repeated one at growing intervals."""
        until, quiet_s = self._quiet.get(fault, (now, QUIET_FIRST_S))
        if now < until:
            return False
        self._quiet[fault] = (now + quiet_s, min(QUIET_LAST_S, quiet_s * 2))
        return True
