"""Finds the fewest slots that meet a target, by simulating the queue with different numbers of slots.

One queue serves all slots, first come first served, as in RabbitMQ with prefetch = slots: no job waits at one
consumer while another has a free slot. Every number of slots gets the same jobs, so more slots never look worse by
chance. Pure: the same numbers always give the same plan.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from heapq import heapreplace
from typing import Literal, Self

from consumer.capacity.service_times import SHARES, ServiceTime, quantile
from consumer.config import units
from consumer.errors import ConfigurationError

Kind = Literal["wait", "total"]
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
    """A latency target: the wait or the total time that a given share of the jobs must not exceed, in seconds."""

    name: str
    kind: Kind
    limit_s: float

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse `p95-wait=0.5` or `p95-wait=500ms`.

        Raises:
            ValueError: the text has another form.
        """
        found = re.fullmatch(r"(p50|p95|p99)-(wait|total)=(.{1,20})", text)
        limit_s = 0.0
        with suppress(ValueError):  # the message below explains times, too
            limit_s = units.seconds(found[3]) if found else 0.0
        if found is None or limit_s <= 0:
            raise ValueError("write p50, p95 or p99, then -wait= or -total=, then a time above 0: p95-wait=500ms")
        kind: Kind = "wait" if found[2] == "wait" else "total"
        return cls(found[1], kind, limit_s)


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
    impossible = _impossible(load, target)
    enough = None if impossible else _fewest(row, least)
    if enough is None and not impossible:
        impossible = f"no number of slots up to {least + MOST_SLOTS:,} is enough"
    middle = enough or least
    shown = {*range(max(middle - ROWS_BELOW, least), middle + ROWS_ABOVE + 1), *([given] if given else [])}
    return Plan(target, [row(slots) for slots in sorted(shown)], enough, impossible)


def _impossible(load: Load, target: Target) -> str:
    """Return why no number of slots can meet the target; empty if one may."""
    run_s = load.service.quantile(SHARES[target.name]) if target.kind == "total" else 0.0
    if target.limit_s > run_s + load.overhead_s:
        return ""
    what = f"the {target.name} of the run and" if run_s else "RabbitMQ and the consumer, for every job:"
    return f"{what} the overhead (--overhead) take {run_s + load.overhead_s:.4g} s, however many slots are free"


def _fewest(row: Callable[[int], PlanRow], least: int) -> int | None:
    """Increase the slots in growing steps until the target is met, then bisect between the last two."""
    low, step = least - 1, 1
    while not row(low + step).meets:
        low, step = low + step, min(2 * step, least + MOST_SLOTS - low - step)
        if not step:
            return None
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if row(middle).meets else (middle, high)
    return high


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
    utilisation = load.offered / slots
    if utilisation >= 1:
        return PlanRow(slots, utilisation, {}, {}, meets=False)
    overhead_s = load.overhead_s
    queued = warmed_up(queued_s(slots, gaps_s, [run + overhead_s for run in runs_s]))
    waits = _percentiles(queued, overhead_s)
    totals = _percentiles(list(map(float.__add__, queued, warmed_up(runs_s))), overhead_s)
    decides = (waits if target.kind == "wait" else totals)[target.name]
    return PlanRow(slots, utilisation, waits, totals, meets=decides <= target.limit_s)


def _percentiles(values: Sequence[float], overhead_s: float) -> dict[str, float]:
    ordered = sorted(values)
    return {name: quantile(ordered, share) + overhead_s for name, share in SHARES.items()}
