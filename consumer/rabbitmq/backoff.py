"""How long to wait before the next attempt to reach RabbitMQ, and which faults are worth a line in the log.

Pure: time and chance are passed in. Full jitter, so that a hundred consumers do not come back at one instant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import uniform

#: A restart of RabbitMQ takes seconds; who waits for an answer should not wait much longer for us.
FIRST_S = 0.1
EARLY_CAP_S = 1.0
EARLY_S = 60.0
#: Later a tenth of the time that it has been away, all outages since the last stable life together, up to this.
LATE_CAP_S = 30.0
#: A connection that lives shorter than this has ended no trouble: what broke the last one may break it as well.
STABLE_S = 60.0
#: How long one and the same fault is not repeated in the log, at first and at last.
QUIET_FIRST_S = 2.0
QUIET_LAST_S = 600.0


def ceiling_s(failures: int, trouble_s: float) -> float:
    """The longest pause after so many failures in a row, in a trouble that has lasted so long."""
    cap = EARLY_CAP_S if trouble_s < EARLY_S else min(LATE_CAP_S, trouble_s / 10)
    return float(min(cap, FIRST_S * 2 ** min(failures, 20)))


@dataclass
class Trouble:
    """From the first lost connection to the first stable one: counts failures, chooses pauses.

    Mutable state: `failures`; `_quiet`, per fault when it may be told again, and how long it is kept quiet then.
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
        """Leave out the time of a short life: how long RabbitMQ was away is what makes pauses longer."""
        self.since += life_s

    def is_worth_telling(self, fault: str, now: float) -> bool:
        """Whether to log a fault: a new one at once, an old one at growing intervals."""
        until, quiet_s = self._quiet.get(fault, (now, QUIET_FIRST_S))
        if now < until:
            return False
        self._quiet[fault] = (now + quiet_s, min(QUIET_LAST_S, quiet_s * 2))
        return True
