"""Measures how long slots are held, and derives from it how many jobs to run at once.

The pool records each run: the number of its jobs, and the seconds for which it held the slot. This module never
waits, reads no clock, and knows nothing about the jobs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

#: The amount of work that may be fetched ahead, in seconds of run time. On a busy machine, RabbitMQ needs 2 to 5
#: ms after a settlement to deliver the next job, so this covers several such gaps. It is also the longest expected
#: wait of a job that was fetched ahead.
HORIZON_S: Final = 0.020
#: The longest intended time of a batch, even with a high fixed cost: jobs for the next batch wait this long.
LONGEST_BATCH_S: Final = 0.5
#: The number of runs that are remembered.
REMEMBERED: Final = 100
#: The quantile of the run times that counts as typical: one run in twenty may take longer.
SHARE: Final = 0.95
#: With fewer runs, `typical_s` and `fit` return None.
LEAST_KNOWN: Final = 50
#: In the fit, each run multiplies the weights of the runs before it by this: the last 50 count most.
DECAY: Final = 0.98
#: The intended share of the fixed cost in the time of a batch. A larger batch would gain little, and its jobs
#: would wait for longer.
FIXED_SHARE: Final = 0.1
#: The assumed share of the fixed cost, while all runs had the same number of jobs. Runs longer than half the
#: horizon need the higher share: with the lower one, the next batch would never be larger than the last.
GUESSED_SHARE: Final = 0.5
GUESSED_SHARE_OF_LONG: Final = 0.7

#: The least variance of the batch sizes. With less, the slope of a line through the run times would be a guess.
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

        It is the smallest batch whose fixed cost is at most FIXED_SHARE of its time. It has no more jobs than fit
        into `span_s`.
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

        If all runs had the same number of jobs, a guessed share of their time counts as fixed cost. Batches then
        grow until their times show the real cost.
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
