"""The targets that this service is held to, each with what was measured and whether it was met.

Pure: from results to lines. A target that could not be measured says so. Nothing is rounded in our favour. Of
a peer the best row counts.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import peers
from results import Metric, Results, Row, Table

_PEERS = {
    "Celery": [contender.key for contender in peers.CELERY],
    "FastStream": [contender.key for contender in peers.FASTSTREAM],
}
#: Before look-ahead, in the run of 2026-11-24: our figures over those of Celery with late acks and prefetch 4.
_CELERY_THEN = "celery-late"
_FRESH_RATE_THEN = 83.4 / 698
_P50_THEN, _P99_THEN = 2.32 / 2.33, 4.93 / 4.57
#: Slots of the memory target, and of what it is compared with.
_MANY, _ONE = 8, 1


@dataclass(frozen=True)
class Target:
    """One limit. `measured` is None where it was not measured; `at_most` says on which side of it is good."""

    number: str
    text: str
    limit: float
    measured: float | None
    unit: str = "x"
    at_most: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """Met, missed or not measured."""
        if self.measured is None:
            return "not measured"
        met = self.measured <= self.limit if self.at_most else self.measured >= self.limit
        return "met" if met else "MISSED"


def all_targets(results: Results) -> list[Target]:
    """Every target, in the order of their numbers."""
    small = results.tables.get("small") or Table("small", "")
    plaid = results.tables.get("PLAID") or Table("PLAID", "")
    return [
        *_rates("1", "small jobs, one call per job", small, "ours", {"Celery": 1.5, "FastStream": 1.2}),
        *_cpu(small),
        *_rates("2", "small jobs, in batches", small, "ours-batches", {"Celery": 2.5, "FastStream": 1.8}),
        *_rates("3", "PLAID, one call per job", plaid, "ours", dict.fromkeys(_PEERS, 1.15)),
        *_rates("3", "PLAID, in batches", plaid, "ours-batches", dict.fromkeys(_PEERS, 4.0)),
        *_rates("3", "PLAID from ONNX, in batches", plaid, "ours-onnx-batches", dict.fromkeys(_PEERS, 3.5)),
        *_fresh(small, plaid),
        *_fair(results),
        *_as_before(small),
        *_memory(small.row("ours"), results),
        _reload(results.reload_p99_ratios),
    ]


def _rates(number: str, what: str, table: Table, key: str, limits: dict[str, float]) -> Iterator[Target]:
    for peer, limit in limits.items():
        best = table.best(_PEERS[peer], "jobs_per_s")
        ratio = table.paired(key, best, operator.truediv, "jobs_per_s")
        yield Target(number, f"{what}: jobs/s / {peer}'s best", limit, ratio, note=_title(table, best))


def _title(table: Table, key: str | None) -> str:
    row = table.row(key or "")
    return row.title if row else ""


def _cpu(small: Table) -> Iterator[Target]:
    best = small.best(_PEERS["FastStream"], "cpu_ms", least=True)
    share = small.paired("ours", best, operator.truediv, "cpu_ms")
    text = "small jobs: CPU per job / FastStream's best"
    yield Target("1", text, 0.8, share, at_most=True, note=_title(small, best))
    added = small.paired("ours", "floor", operator.sub, "cpu_ms")
    yield Target("1", "small jobs: CPU per job above the floor's", 0.6, added, "ms", at_most=True)


def _fresh(small: Table, plaid: Table) -> Iterator[Target]:
    ratio = small.paired("ours-fresh", _CELERY_THEN, operator.truediv, "jobs_per_s")
    now = ratio and ratio / _FRESH_RATE_THEN
    yield Target("4", "fresh worker per job: jobs/s / in the run of 2026-11-24", 2.0, now)
    fresh = small.row("ours-fresh")
    p50 = fresh.median("alone_p50_ms") if fresh else None
    yield Target("4", "fresh worker per job: p50, one in flight", 5.0, p50, "ms", at_most=True)
    celery = {"Celery": 1.3}
    yield from _rates("4", "fresh worker per job, PLAID from ONNX", plaid, "ours-fresh-onnx", celery)


def _fair(results: Results) -> Iterator[Target]:
    text = "twenty short jobs that arrive with one of 3 s: longest latency"
    yield Target("5", text, 1.0, results.beside_long_s, "s", at_most=True)
    text = "random mix: longest wait while a slot is free"
    yield Target("5", text, 50.0, results.wait_beside_free_slot_ms, "ms", at_most=True)


def _as_before(small: Table) -> Iterator[Target]:
    metrics: tuple[tuple[str, Metric, float], ...] = (
        ("p50", "alone_p50_ms", _P50_THEN),
        ("p99", "alone_p99_ms", _P99_THEN),
    )
    for name, metric, then in metrics:
        ratio = small.paired("ours", _CELERY_THEN, operator.truediv, metric)
        text = f"{name}, one in flight / in the run of 2026-11-24"
        yield Target("6", text, 1.0, ratio and ratio / then, at_most=True)


def _memory(ours: Row | None, results: Results) -> Iterator[Target]:
    many, one = (ours.pss_mb.get(slots) if ours else None for slots in (_MANY, _ONE))
    ratio = many / one if many and one else None
    note = f"{many:.0f} MB and {one:.0f} MB" if many and one else ""
    text = f"memory (PSS) of {_MANY} slots / of one"
    yield Target("6", text, 1.5, ratio, at_most=True, note=note)
    text = "memory after 100,000 jobs / after 10,000"
    yield Target("6", text, 1.05, results.memory_growth, at_most=True)


def _reload(ratios: list[float]) -> Target:
    measured = median(ratios) if ratios else None
    note = "of " + ", ".join(f"{ratio:.2f}" for ratio in ratios) if ratios else ""
    return Target("7", "p99 during a reload / before, two in flight", 2.0, measured, at_most=True, note=note)
