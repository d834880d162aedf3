"""How long jobs wait for a slot: Erlang's formula for a first estimate, a simulation for the answer.

One queue in front of all slots, first come first served, which is what RabbitMQ with prefetch = slots is: no job
waits at one consumer while another has a slot free. Pure: numbers in, numbers out, the same for the same seed.

Sources: A. K. Erlang 1917, "Solution of some problems in the theory of probabilities of significance in automatic
telephone exchanges"; D. Gross, C. M. Harris, "Fundamentals of Queueing Theory", chapter on M/M/c; A. O. Allen,
"Probability, Statistics and Queueing Theory" (Allen-Cunneen); J. Kiefer, J. Wolfowitz 1955 (the recursion).
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from itertools import pairwise

#: Jobs at the end of whose waits the interval is made: few enough to be long, enough for Student's t.
BATCHES = 30
#: Student's t for a two-sided 95 % interval and 29 degrees of freedom.
STUDENT_T = 2.045
#: Beyond this the batches say nothing, and the run is too short by far.
MOST_CORRELATION = 0.9
#: Of all simulated jobs, those that are left out: they met slots that were all free.
WARM_UP_SHARE = 0.1


def erlang_b(slots: int, offered: float) -> float:
    """Probability that all slots are busy where nobody waits. `offered`: arrival rate times mean service time.

    By the usual recursion, which neither overflows nor cancels.
    """
    blocked = 1.0
    for number in range(1, slots + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked


def erlang_c(slots: int, offered: float) -> float:
    """Probability that a job waits in M/M/c: Poisson arrivals, exponential service; 1 where it is unstable."""
    if offered >= slots:
        return 1.0
    blocked = erlang_b(slots, offered)
    return blocked / (1 - offered / slots * (1 - blocked))


def wait_estimate_s(slots: int, rate: float, mean_s: float, *, share: float, variability: float = 1.0) -> float:
    """Wait in seconds that `share` of the jobs do not exceed; infinite where the slots cannot keep up.

    In M/M/c it is exact: P(W > t) = C exp(-(c - a) t / mean). Otherwise it is multiplied by `variability`, which
    is (scv of the gaps + scv of the service) / 2, as Allen and Cunneen do with the mean; scv is the squared
    coefficient of variation.
    """
    offered = rate * mean_s
    if offered >= slots:
        return math.inf
    excess = erlang_c(slots, offered) / (1 - share)
    return max(0.0, math.log(excess)) * mean_s / (slots - offered) * variability if excess > 0 else 0.0


class ArrivalTrace:
    """Jobs that come, the same ones for every number of slots: so a difference between two is that of the slots.

    `gaps` are the times between arrivals with a mean of 1, `runs` the run times in seconds. Mutable state: both
    grow with `extend`, and always in the same way.
    """

    def __init__(self, quantile: Callable[[float], float], *, burst: int = 1, seed: int = 1) -> None:
        """Begin with none; `quantile` gives the run time below which a share lies, `burst` jobs come at once."""
        self._arrivals = random.Random(f"arrivals {seed}")  # noqa: S311 - a simulation
        self._services = random.Random(f"services {seed}")  # noqa: S311 - of its own, so that the gaps stay
        self._quantile = quantile
        self._burst = burst
        self.gaps = array("d")
        self.runs = array("d")

    def extend(self, jobs: int) -> None:
        """Have at least so many jobs."""
        missing = jobs - len(self.runs)
        if missing <= 0:
            return
        missing = math.ceil(missing / self._burst) * self._burst
        moment, quantile, chance = self._arrivals.random, self._quantile, self._services.random
        others = [0.0] * (self._burst - 1)
        for _ in range(missing // self._burst):
            self.gaps.append(-math.log(1.0 - moment()) * self._burst)
            self.gaps.extend(others)
        self.runs.extend([quantile(chance()) for _ in range(missing)])


class Slots:
    """Slots that take jobs first come, first served. Mutable state: when each is free, and the last arrival."""

    def __init__(self, count: int) -> None:
        self._free_at = [0.0] * count
        self._now = 0.0

    def serve(self, gaps: Iterable[float], holds: Iterable[float]) -> list[float]:
        """Take jobs, each `gap` seconds after the one before, holding their slots; give their waits in seconds."""
        free_at, now = self._free_at, self._now
        waits = []
        for gap, hold in zip(gaps, holds, strict=True):
            now += gap
            first = free_at[0]
            begin = first if first > now else now  # noqa: FURB136 - calling max takes as long as all the rest
            heapreplace(free_at, begin + hold)
            waits.append(begin - now)
        self._now = now
        return waits


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of the sorted values do not exceed, as one of them."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value from a simulation, and half of its 95 % interval, in the same unit."""

    value: float
    half: float

    @property
    def upper(self) -> float:
        """The upper end of the interval."""
        return self.value + self.half


def estimate(values: Sequence[float], share: float) -> Estimate:
    """A quantile of what came one after the other, with its interval."""
    return with_interval(values, lambda some: quantile(sorted(some), share))


def with_interval(values: Sequence[float], statistic: Callable[[Sequence[float]], float]) -> Estimate:
    """A statistic of what came one after the other, with its interval by batch means.

    Batches that still go together, as their lag-1 correlation tells, count for fewer: the interval is widened by
    sqrt((1 + r) / (1 - r)), which is right for a first-order autoregression.
    """
    size = len(values) // BATCHES
    found = [statistic(values[at * size : (at + 1) * size]) for at in range(BATCHES)]
    mean = sum(found) / BATCHES
    squares = sum((value - mean) ** 2 for value in found)
    half = STUDENT_T * math.sqrt(squares / (BATCHES - 1) / BATCHES)
    if squares > 0:
        lagged = sum((one - mean) * (next_one - mean) for one, next_one in pairwise(found))
        r = min(max(0.0, lagged / squares), MOST_CORRELATION)
        half *= math.sqrt((1 + r) / (1 - r))
    return Estimate(statistic(values), half)


def warmed_up(values: Sequence[float]) -> Sequence[float]:
    """Leave out the first ones."""
    return values[int(len(values) * WARM_UP_SHARE) :]
