"""How many slots a latency target needs: numbers of slots are tried until the fewest that meet it are found.

Erlang's formula says where to look, the simulation decides. Every number of slots is tried with the same jobs
(queueing.py), so more of them never look worse by chance; a run is lengthened until the interval of the figure
that decides is small. Pure, and the same for the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from consumer.capacity.plan import SHARES, Load, Plan, PlanRow, Target
from consumer.capacity.queueing import (
    ArrivalTrace,
    Estimate,
    Slots,
    estimate,
    quantile,
    wait_estimate_s,
    warmed_up,
)
from consumer.errors import ConfigurationError

#: Half of the 95 % interval, as a share of the figure that decides ...
PRECISION = 0.05
#: ... or of the mean run time, where the figure is next to nothing ...
LEAST_PRECISION = 0.02
#: ... and twice as much where the target is this many halves away.
FAR = 4
#: Simulated for each number of slots: a fifth of a second, and four seconds, on an idle machine.
FEWEST_JOBS, MOST_JOBS = 100_000, 1_600_000
#: So many jobs for each slot at least, or the first ones, which find it free, would decide.
JOBS_PER_SLOT = 200
#: More are several services. Each costs simulated jobs.
MOST_SLOTS = 2000
#: Rows above the one that is enough, and below it.
ROWS_BELOW, ROWS_ABOVE = 3, 2


class Planner:
    """Tries numbers of slots with the same jobs. Mutable state: the jobs so far, and the rows that were tried."""

    def __init__(self, load: Load, target: Target, *, seed: int = 1, most_jobs: int = MOST_JOBS) -> None:
        """Try none yet. `most_jobs` are simulated for each number of slots, however wide the interval still is.

        Raises:
            ConfigurationError: more slots would be needed than this is made for.
        """
        if load.offered > MOST_SLOTS:
            raise ConfigurationError(
                f"{load.offered:,.0f} slots would be busy in the mean, and this looks at {MOST_SLOTS:,} at most: "
                "check --rate and the run times (seconds), or plan for a part of the jobs"
            )
        self.load, self.target = load, target
        self._most_jobs = most_jobs
        self._trace = ArrivalTrace(load.service.quantile, burst=load.burst, seed=seed)
        self._rows: dict[int, PlanRow] = {}

    def plan(self, given: int | None = None) -> Plan:
        """Find the fewest slots that meet the target, and the rows around them; `given` is tried in any case."""
        impossible = self._impossible()
        enough = None if impossible else self._search()
        if enough is None and not impossible:
            impossible = "more slots do not help any more"
        middle = enough or self._fewest()
        shown = {
            *range(max(middle - ROWS_BELOW, self._fewest()), middle + ROWS_ABOVE + 1),
            *([given] if given else []),
        }
        return Plan(self.target, [self.row(slots) for slots in sorted(shown)], enough, impossible)

    def row(self, slots: int) -> PlanRow:
        """Simulate a number of slots, once."""
        if slots not in self._rows:
            self._rows[slots] = self._simulated(slots)
        return self._rows[slots]

    def _impossible(self) -> str:
        """Say why no number of slots can meet the target, if so."""
        load, target = self.load, self.target
        if target.kind == "wait" and target.limit_s <= load.overhead_s:
            return (
                f"RabbitMQ and the consumer take {load.overhead_s * 1000:g} ms for every job (--overhead-ms), "
                "however many slots are free"
            )
        least = load.service.quantile(target.share) + load.overhead_s
        if target.kind == "total" and target.limit_s <= least:
            return f"the {target.name} of the run with its overhead is {least:.4g} s: the jobs must get faster"
        return ""

    def _fewest(self) -> int:
        return math.floor(self.load.offered) + 1

    def _search(self) -> int | None:
        """From Erlang's estimate up in growing steps until it is met, then between the last two by halving."""
        low, high = self._fewest() - 1, self._first_estimate()
        most = 2 * high + 10 * self.load.burst + 20
        while not self.row(high).meets:
            if high >= most:
                return None
            low, high = high, min(most, high + max(1, high - low))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.row(middle).meets else (middle, high)
        return high

    def _first_estimate(self) -> int:
        load, slots = self.load, self._fewest()
        run_s = load.service.mean_s if self.target.kind == "total" else 0.0
        limit_s = max(self.target.limit_s - load.overhead_s - run_s, load.hold_s / 100)
        while slots < MOST_SLOTS and self._estimated_s(slots) > limit_s:
            slots += 1 + slots // 100
        return slots

    def _estimated_s(self, slots: int) -> float:
        load = self.load
        return wait_estimate_s(
            slots, load.rate, load.hold_s, share=self.target.share, variability=load.variability
        )

    def _simulated(self, slots: int) -> PlanRow:
        utilisation = self.load.offered / slots
        if utilisation >= 1:
            return PlanRow(slots, utilisation, math.inf, {}, {}, None, 0, meets=False)
        serving, waits = Slots(slots), list[float]()
        jobs = min(max(FEWEST_JOBS, JOBS_PER_SLOT * slots), self._most_jobs)
        while True:
            self._trace.extend(jobs)
            begun = len(waits)
            gaps, runs = self._trace.gaps[begun:jobs], self._trace.runs[begun:jobs]
            waits += serving.serve(self._gaps(gaps), self._holds(runs))
            runs = self._trace.runs[:jobs]
            decides = estimate(warmed_up(self._deciding(waits, runs)), self.target.share)
            excess = decides.half / self._wanted_half(decides)
            if excess <= 1 or jobs >= self._most_jobs:
                return self._row(slots, waits, runs, decides)
            # An interval shrinks with the root of the jobs.
            jobs = min(max(2 * jobs, int(jobs * excess**2)), self._most_jobs)

    def _wanted_half(self, found: Estimate) -> float:
        is_far = abs(found.value - self.target.limit_s) > FAR * found.half
        precision = PRECISION * (2 if is_far else 1)
        return max(precision * found.value, LEAST_PRECISION * self.load.service.mean_s)

    def _row(self, slots: int, waits: Sequence[float], runs: Sequence[float], decides: Estimate) -> PlanRow:
        """The upper end of the interval decides: a row that only may be enough is not."""
        overhead_s = self.load.overhead_s
        waited = sorted(warmed_up(waits))
        totals = sorted(wait + run for wait, run in zip(warmed_up(waits), warmed_up(runs), strict=True))
        return PlanRow(
            slots=slots,
            utilisation=self.load.offered / slots,
            first_estimate_s=self._estimated_s(slots) + overhead_s,
            wait={name: quantile(waited, share) + overhead_s for name, share in SHARES.items()},
            total={name: quantile(totals, share) + overhead_s for name, share in SHARES.items()},
            decides=decides,
            jobs=len(waits),
            meets=decides.upper <= self.target.limit_s,
        )

    def _gaps(self, gaps: Sequence[float]) -> list[float]:
        rate = self.load.rate
        return [gap / rate for gap in gaps]

    def _holds(self, runs: Sequence[float]) -> list[float]:
        overhead_s = self.load.overhead_s
        return [run + overhead_s for run in runs]

    def _deciding(self, waits: Sequence[float], runs: Sequence[float]) -> list[float]:
        overhead_s = self.load.overhead_s
        if self.target.kind == "wait":
            return [wait + overhead_s for wait in waits]
        return [wait + run + overhead_s for wait, run in zip(waits, runs, strict=True)]
