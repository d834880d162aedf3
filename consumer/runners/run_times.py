"""Measures how long slots are held, and derives from it how many jobs to run at once.

One record for each run of a slot: how many jobs it ran together, and for how long it held the slot. The pool adds
them. Nothing here waits, reads a clock or knows what a job is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

#: Work that may wait for a slot, in seconds of run time. RabbitMQ takes 2 to 5 ms on a busy machine to send the
#: next job after a settlement, so this covers the gap several times. It is also the longest expected wait of such
#: a job.
HORIZON_S: Final = 0.020
#: The longest intended time of a batch, even with a high fixed cost: jobs for the next batch wait this long.
LONGEST_BATCH_S: Final = 0.5
#: Runs that are remembered.
REMEMBERED: Final = 100
#: A run is typical if at most one in twenty takes longer, so one long job in twenty counts.
SHARE: Final = 0.95
#: With fewer runs nothing is known.
LEAST_KNOWN: Final = 50
#: In the fit, each run multiplies the weights of the runs before it by this: the last 50 count most.
DECAY: Final = 0.98
#: Of a batch's time, this much may be its fixed cost. A larger batch would gain little and make its jobs wait.
FIXED_SHARE: Final = 0.1
#: The assumed fixed cost, as a share of the time, while all runs had the same size. For runs longer than half the
#: horizon a smaller share would never let the next batch be larger than the last one.
GUESSED_SHARE: Final = 0.5
GUESSED_SHARE_OF_LONG: Final = 0.7

#: Variance of the batch sizes. Below it a line through the times of the runs would be a guess.
LEAST_SPREAD: Final = 0.01


@dataclass(frozen=True, slots=True)
class Fit:
    """The line `seconds = each_s * jobs + fixed_s` through recent runs."""

    each_s: float
    fixed_s: float

    @property
    def span_s(self) -> float:
        """Seconds that one batch may take: the horizon, or twice the fixed cost if that is longer."""
        return max(HORIZON_S, min(2 * self.fixed_s, LONGEST_BATCH_S))

    def batch(self, most: int) -> int:
        """Return the number of jobs to run together, from 1 to `most`.

        The smallest batch whose fixed cost is at most FIXED_SHARE of its time, and no more jobs than fit into
        `span_s`.
        """
        each_s = max(self.each_s, 1e-6)
        cheap = self.fixed_s * (1 / FIXED_SHARE - 1) / each_s
        fitting = (self.span_s - self.fixed_s) / each_s
        return max(1, min(most, int(fitting), round(cheap)))


@dataclass(slots=True)
class RunTimes:
    """The latest runs.

    Mutable state: `_each_s`, seconds per job of the latest runs; `_n` to `_nt`, the weighted sums of a
    least-squares fit (https://en.wikipedia.org/wiki/Simple_linear_regression) over jobs n and seconds t.
    """

    _each_s: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    _weight: float = 0.0
    _n: float = 0.0
    _t: float = 0.0
    _nn: float = 0.0
    _nt: float = 0.0

    def add(self, jobs: int, seconds: float) -> None:
        """Record a run of `jobs` jobs together that held its slot for `seconds`."""
        self._each_s.append(seconds / jobs)
        self._weight = DECAY * self._weight + 1
        self._n = DECAY * self._n + jobs
        self._t = DECAY * self._t + seconds
        self._nn = DECAY * self._nn + jobs * jobs
        self._nt = DECAY * self._nt + jobs * seconds

    def typical_s(self) -> float | None:
        """Return the seconds of slot time per job that one run in twenty exceeds; None if too few are known."""
        if len(self._each_s) < LEAST_KNOWN:
            return None
        return sorted(self._each_s)[int(SHARE * (len(self._each_s) - 1))]

    def share_above(self, seconds: float) -> float:
        """Return the share of the latest runs whose time per job exceeded `seconds`."""
        return sum(each_s > seconds for each_s in self._each_s) / max(1, len(self._each_s))

    def fit(self) -> Fit | None:
        """Fit a line through the latest runs; None if too few are known.

        If all runs had the same number of jobs, much of their time is taken as fixed cost: batches grow until
        their times show how much it is.
        """
        if len(self._each_s) < LEAST_KNOWN:
            return None
        mean_n, mean_t = self._n / self._weight, self._t / self._weight
        spread = self._nn / self._weight - mean_n**2
        if spread < LEAST_SPREAD:
            fixed = GUESSED_SHARE if mean_t < HORIZON_S / 2 else GUESSED_SHARE_OF_LONG
            return Fit(each_s=(1 - fixed) * mean_t / mean_n, fixed_s=fixed * mean_t)
        each_s = max(0.0, (self._nt / self._weight - mean_n * mean_t) / spread)
        each_s = min(each_s, mean_t / mean_n)
        return Fit(each_s=each_s, fixed_s=mean_t - each_s * mean_n)
