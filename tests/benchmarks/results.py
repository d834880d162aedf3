"""What was measured, and the arithmetic on it: medians, and ratios of what was measured side by side.

A machine that is shared is fast now and slow a minute later. So contenders take turns, and a ratio is taken within
one turn first; the median of these ratios is what is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, TypeAlias

#: Of the in-process loop.
LOOP = "loop"

Metric = Literal[
    "jobs_per_s",
    "alone_p50_ms",
    "alone_p99_ms",
    "saturated_p50_ms",
    "saturated_p99_ms",
    "cpu_ms",
    "broker_cpu_ms",
    "generator_cpu_ms",
]
#: One turn: some jobs one at a time, then many in flight. CPU time is per job of the latter.
Sample: TypeAlias = dict[Metric, float]


@dataclass
class Row:
    """One contender on one workload; every turn adds a sample.

    Attributes:
        skipped: why it was not run, which is no failure.
        failed: what went wrong, which is.
        pss_mb: memory of its tree by number of slots.
    """

    key: str
    title: str
    skipped: str | None = None
    failed: str | None = None
    start_s: float | None = None
    samples: list[Sample] = field(default_factory=list)
    pss_mb: dict[int, float] = field(default_factory=dict)

    def values(self, metric: Metric) -> list[float]:
        return [sample[metric] for sample in self.samples if metric in sample]

    def median(self, metric: Metric) -> float | None:
        """The median over all turns; None where nothing was measured."""
        values = self.values(metric)
        return median(values) if values else None


@dataclass
class Table:
    """All rows of one workload."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)

    def row(self, key: str) -> Row | None:
        return next((row for row in self.rows if row.key == key), None)

    def best(self, keys: Sequence[str], metric: Metric, *, least: bool = False) -> str | None:
        """The key of the row that did best among some, by its median."""
        found = {
            key: value for key in keys if (row := self.row(key)) and (value := row.median(metric)) is not None
        }
        return (min if least else max)(found, key=found.__getitem__) if found else None

    def paired(
        self, one: str, other: str | None, combine: Callable[[float, float], float], metric: Metric
    ) -> float | None:
        """Combine the values of two rows turn by turn; the median of that, None where one of them has none."""
        ours, theirs = self.row(one), self.row(other or "")
        if not ours or not theirs or not ours.samples or not theirs.samples:
            return None
        # A contender that failed in a later turn has fewer.
        return median(map(combine, ours.values(metric), theirs.values(metric)))


@dataclass
class Results:
    """One run of the benchmark. What was not measured is None, or empty."""

    tables: dict[str, Table] = field(default_factory=dict)
    #: Slowest of the short jobs that came with a long one; longest wait beside a free slot, in a random mix.
    beside_long_s: float | None = None
    wait_beside_free_slot_ms: float | None = None
    #: p99 during each reload over the p99 before it, with two jobs in flight.
    reload_p99_ratios: list[float] = field(default_factory=list)
    #: Memory of the consumer after all jobs over that after the first tenth.
    memory_growth: float | None = None


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all values lie below, as one of them."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]
