"""Finds the fewest slots that meet a target, by simulating the queue with different numbers of slots.

One queue serves all slots, first come first served, as in RabbitMQ with prefetch = slots: no job waits at one
consumer while another has a free slot. Every number of slots gets the same jobs, so more slots never look worse by
chance. Pure: the same numbers always give the same plan.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from heapq import heapreplace
from typing import Self

from consumer.capacity.service_times import SHARES, ServiceTime, percentiles
from consumer.config import units
from consumer.errors import ConfigurationError

#: Seconds that RabbitMQ and the consumer add to the run of a job: publish, delivery, file, reply, confirm, ack.
#: The caller waits for so much longer, and the slot is held for about so much longer. On two idle CPUs, a single
#: small job is answered after 2.9 ms and runs for less than 1 ms of that (docs/speed.md). bench_plan.py measures
#: both.
OVERHEAD_S = 0.003
#: The jobs simulated for each number of slots, in a third of a second. At 90 % utilisation, chance changes the p95
#: of the wait by less than 10 %, at 95 % by less than 15 %.
JOBS = 500_000
#: The fewest jobs for each busy slot: with fewer, the first jobs, which find all slots free, would decide the
#: result.
JOBS_PER_SLOT = 200
#: The result leaves out this share of the jobs: the first ones, because they find all slots free.
WARM_UP_SHARE = 0.1
#: An installation with more slots is better planned as several services.
MOST_SLOTS = 2000
#: The number of rows shown below and above the fewest slots that are enough.
ROWS_BELOW, ROWS_ABOVE = 3, 2


@dataclass(frozen=True, slots=True)
class Target:
    """A latency target: the wait or the total time that a given share of the jobs must not exceed, in seconds.

    `name`: p50, p95 or p99; `kind`: wait or total.
    """

    name: str
    kind: str
    limit_s: float

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse `p95-wait=0.5` or `p95-wait=500ms`.

        Raises:
            ValueError: the text has another form.
        """
        what, _, limit = text.partition("=")
        name, _, kind = what.partition("-")
        limit_s = 0.0
        with suppress(ValueError):  # the message below explains times, too
            limit_s = units.seconds(limit)
        if name not in SHARES or kind not in {"wait", "total"} or limit_s <= 0:
            raise ValueError("write p50, p95 or p99, then -wait= or -total=, then a time above 0: p95-wait=500ms")
        return cls(name, kind, limit_s)


@dataclass(frozen=True, slots=True)
class Load:
    """The arriving jobs and their run times. `rate`: jobs per second."""

    rate: float
    service: ServiceTime
    overhead_s: float = OVERHEAD_S

    @property
    def offered(self) -> float:
        """The mean number of busy slots; only more slots than this can keep up."""
        return self.rate * (self.service.mean_s + self.overhead_s)


@dataclass(frozen=True, slots=True)
class PlanRow:
    """The result for one number of slots.

    `wait_s`: the time outside of the run, in the queue and as overhead. `total_s`: the time from publishing to
    reply. Both hold seconds by p50, p95 and p99, and are empty if the slots cannot keep up.
    """

    slots: int
    utilisation: float
    wait_s: dict[str, float]
    total_s: dict[str, float]
    meets: bool

    @property
    def is_stable(self) -> bool:
        """Whether the slots keep up."""
        return bool(self.wait_s)

    def decisive_s(self, target: Target) -> float:
        """Return the figure that the target limits; infinite if the slots cannot keep up."""
        return (self.wait_s if target.kind == "wait" else self.total_s).get(target.name, math.inf)


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows in order of slots. `enough`: the fewest slots that meet the target; None if no number does."""

    target: Target
    rows: list[PlanRow]
    enough: int | None
    #: Why no number of slots meets the target.
    impossible: str = ""


def plan(
    load: Load,
    target: Target,
    *,
    given: int | None = None,
    simulated_jobs: int = JOBS,
    on_slots: Callable[[int], None] = lambda _slots: None,
) -> Plan:
    """Find the fewest slots that meet the target. The plan also has rows for similar numbers and for `given`.

    `on_slots` is called with each number of slots before it is simulated.

    Raises:
        ConfigurationError: the load needs more slots than the command supports.
    """
    if load.offered > MOST_SLOTS:
        raise ConfigurationError(
            f"{load.offered:,.0f} slots would be busy on average, and the plan supports {MOST_SLOTS:,} at most; "
            "check --rate and the run times (seconds), or plan for a part of the jobs"
        )
    gaps_s, runs_s = jobs(load, simulated_jobs)

    @cache
    def row(slots: int) -> PlanRow:
        on_slots(slots)
        return simulated(slots, load, target, gaps_s, runs_s)

    least = math.floor(load.offered) + 1
    most = row(least + MOST_SLOTS)
    enough, impossible = None, ""
    if most.meets:
        enough = _fewest(row, least)
    else:
        best = f"{most.decisive_s(target):.4g} s with {most.slots:,} slots"
        impossible = f"the {target.name} of the {target.kind} is still {best}: run and overhead take so long"
    middle = enough or least
    shown = {*range(max(middle - ROWS_BELOW, least), middle + ROWS_ABOVE + 1), *([given] if given else [])}
    return Plan(target, [row(slots) for slots in sorted(shown)], enough, impossible)


def _fewest(row: Callable[[int], PlanRow], least: int) -> int:
    """Raise the slots in doubled steps until the target is met, then bisect the last step."""
    low, high = least, least
    while not row(high).meets:
        low, high = high + 1, min(2 * high - least + 1, least + MOST_SLOTS)
    return low + bisect_left(range(low, high), x=True, key=lambda slots: row(slots).meets)


def jobs(load: Load, fewest: int) -> tuple[list[float], list[float]]:
    """Draw the jobs: the times between their arrivals, and their run times, in seconds."""
    count = math.ceil(max(fewest, JOBS_PER_SLOT * load.offered))
    arrivals = random.Random("arrivals 1")  # noqa: S311 - a simulation
    services = random.Random("services 1")  # noqa: S311 - a second one, so that the gaps stay the same
    gaps_s = [arrivals.expovariate(load.rate) for _ in range(count)]
    return gaps_s, [load.service.quantile(services.random()) for _ in range(count)]


def queued_s(slots: int, gaps_s: Sequence[float], holds_s: Sequence[float]) -> list[float]:
    """Compute how long each job is queued, from the gaps between arrivals and how long each holds a slot."""
    free_at, now = [0.0] * slots, 0.0
    queued = []
    for gap, hold in zip(gaps_s, holds_s, strict=True):
        now += gap
        first = free_at[0]
        begin = first if first > now else now  # noqa: FURB136 - calling max takes as long as all the rest
        heapreplace(free_at, begin + hold)
        queued.append(begin - now)
    return queued


def warmed_up(values: Sequence[float]) -> Sequence[float]:
    """Drop the values of the first jobs, `WARM_UP_SHARE` of all."""
    return values[int(len(values) * WARM_UP_SHARE) :]


def simulated(slots: int, load: Load, target: Target, gaps_s: Sequence[float], runs_s: Sequence[float]) -> PlanRow:
    """Simulate the jobs with this number of slots."""
    if (utilisation := load.offered / slots) >= 1:
        return PlanRow(slots, utilisation, {}, {}, meets=False)
    holds_s = [run_s + load.overhead_s for run_s in runs_s]
    queued = queued_s(slots, gaps_s, holds_s)
    wait_s = percentiles(warmed_up([queue_s + load.overhead_s for queue_s in queued]))
    total_s = percentiles(warmed_up(list(map(float.__add__, queued, holds_s))))
    row = PlanRow(slots, utilisation, wait_s, total_s, meets=True)
    return replace(row, meets=row.decisive_s(target) <= target.limit_s)
