"""What was measured, and the arithmetic on it: medians, and ratios of what was measured side by side.

A machine that is shared is fast now and slow a minute later. So contenders take turns in short bursts, and a
ratio is taken within one turn of the rotation first; the median of these ratios is what is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

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


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One contender's turn: some jobs one at a time, then many in flight. CPU time is per job of the latter."""

    turn: int
    jobs_per_s: float
    alone_p50_ms: float
    alone_p99_ms: float
    saturated_p50_ms: float | None
    saturated_p99_ms: float | None
    cpu_ms: float
    broker_cpu_ms: float | None
    generator_cpu_ms: float | None

    def get(self, metric: Metric) -> float | None:
        value: float | None = getattr(self, metric)
        return value


@dataclass
class Row:
    """One contender on one workload.

    Attributes:
        skipped: why it was not run, which is no failure.
        failed: what went wrong, which is.
        pss_mb: memory of its tree by number of slots.
        verified: how many replies had the label that they should have.
        signals: the places of the different signals among those.
    """

    key: str
    title: str
    skipped: str | None = None
    failed: str | None = None
    start_s: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    pss_mb: dict[int, list[float]] = field(default_factory=dict)
    verified: int = 0
    signals: set[int] = field(default_factory=set)

    def median(self, metric: Metric) -> float | None:
        """The median over all turns; None where nothing was measured."""
        values = [value for sample in self.samples if (value := sample.get(metric)) is not None]
        return median(values) if values else None

    def memory_mb(self, slots: int) -> float | None:
        measured = self.pss_mb.get(slots)
        return median(measured) if measured else None


@dataclass
class Table:
    """All rows of one workload."""

    name: str
    title: str
    signals: int
    rows: list[Row] = field(default_factory=list)

    def row(self, key: str) -> Row | None:
        return next((row for row in self.rows if row.key == key), None)

    def paired(self, keys: Sequence[str], combine: Callable[..., float], metric: Metric) -> float | None:
        """Combine the values of some rows turn by turn; the median of that, None where one of them has none.

        A row that is measured once a round (`slow`) counts for the turns in which it was.
        """
        by_turn = [self._by_turn(key, metric) for key in keys]
        turns = set.intersection(*(set(values) for values in by_turn))
        combined = [combine(*(values[turn] for values in by_turn)) for turn in turns]
        return median(combined) if combined else None

    def _by_turn(self, key: str, metric: Metric) -> dict[int, float]:
        samples = row.samples if (row := self.row(key)) else []
        return {sample.turn: value for sample in samples if (value := sample.get(metric)) is not None}


@dataclass
class Reload:
    """Latency of jobs before a reload and while it went on, `in_flight` at once."""

    in_flight: int
    before_p99_ms: float
    during_p99_ms: float
    during_s: float
    jobs: int


@dataclass
class Results:
    """One run of the benchmark. Benchmarks add to it; the report is made of it at the end."""

    tables: list[Table] = field(default_factory=list)
    reloads: list[Reload] = field(default_factory=list)
    reload_skipped: str | None = "it was not run"
    accuracy: float | None = None
    prediction_ms: float | None = None
    prediction_by: str = ""
    replacement_ms: float | None = None
    slowest_replacement_ms: float | None = None

    def table(self, name: str) -> Table | None:
        return next((table for table in self.tables if table.name == name), None)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all values lie below, as one of them."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]
