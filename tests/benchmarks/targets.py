"""The bounds that this service holds itself to, each with what was measured and by how much it was met or missed.

Pure: from results to lines. A bound that could not be measured says so. Nothing is rounded in our favour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from results import LOOP, Metric, Results, Table

_SMALL, _PLAID = "small", "PLAID"
_PEERS = {"celery": "Celery", "faststream": "FastStream"}
#: Slots of the memory bound, and of what it is compared with.
_MANY, _ONE = 8, 1


@dataclass(frozen=True)
class Target:
    """One bound. `measured` is None where it was not measured; `at_most` says on which side of it is good."""

    number: str
    text: str
    bound: float
    measured: float | None
    unit: str = ""
    at_most: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """Met, missed or not measured."""
        if self.measured is None:
            return "not measured"
        met = self.measured <= self.bound if self.at_most else self.measured >= self.bound
        return "met" if met else "MISSED"

    @property
    def margin(self) -> str:
        """By how much, in per cent of the bound."""
        if self.measured is None or not self.bound:
            return ""
        return f"by {abs(self.measured / self.bound - 1):.1%}"


def all_targets(results: Results) -> list[Target]:
    """Every bound, in the order of their numbers."""
    small, plaid = (results.table(name) or Table(name, "", 0) for name in (_SMALL, _PLAID))
    return [
        *_isolation(small),
        *_small_jobs(small),
        *_plaid(plaid),
        *_memory(small),
        *_classifier(results, plaid),
        *_replacement(results),
        *_reload(results),
    ]


def _ratio(table: Table, ours: str, theirs: str, metric: Metric) -> float | None:
    return table.paired([ours, theirs], lambda ours, theirs: ours / theirs, metric)


def _isolation(small: Table) -> Iterator[Target]:
    text = "CPU per job, a program for each /"
    for row, title, bound in (
        ("ours-fresh", "fresh warm worker for each", 100),
        ("ours", "default settings", 800),
    ):
        yield Target("1", f"{text} {title}", bound, _ratio(small, "ours-exec", row, "cpu_ms"), "x")


def _small_jobs(small: Table) -> Iterator[Target]:
    for (peer, name), bound in zip(_PEERS.items(), (1.6, 1.5), strict=True):
        yield Target("2", f"jobs/s, ours / {name}", bound, _ratio(small, "ours", peer, "jobs_per_s"), "x")
    added = small.paired(["ours", LOOP], lambda ours, loop: ours - loop, "cpu_ms")
    yield Target("2", "CPU per job that ours adds to the in-process loop's", 1.0, added, "ms", at_most=True)
    for peer, name in _PEERS.items():
        share = small.paired(["ours", peer, LOOP], _share_of_what_is_added, "cpu_ms")
        yield Target("2", f"... as a share of what {name} adds", 0.4, share, at_most=True)
    for peer, name in _PEERS.items():
        ratio = _ratio(small, "ours", peer, "alone_p50_ms")
        yield Target("2", f"p50 latency with one in flight, ours / {name}", 1.0, ratio, "x", at_most=True)


def _share_of_what_is_added(ours: float, peer: float, loop: float) -> float:
    return (ours - loop) / (peer - loop)


def _plaid(plaid: Table) -> Iterator[Target]:
    for peer, name in _PEERS.items():
        ratio = _ratio(plaid, "ours-onnx", peer, "jobs_per_s")
        yield Target("3", f"PLAID: jobs/s, ours from ONNX / {name}", 3.5, ratio, "x")
    for peer, name in _PEERS.items():
        ratio = _ratio(plaid, "ours-fresh-onnx", peer, "jobs_per_s")
        yield Target("3", f"PLAID: jobs/s, a fresh worker per job / {name}", 1.0, ratio, "x")


def _memory(small: Table) -> Iterator[Target]:
    ours, loop = small.row("ours"), small.row(LOOP)
    many = ours.memory_mb(_MANY) if ours else None
    one = ours.memory_mb(_ONE) if ours else None
    alone = loop.memory_mb(1) if loop else None
    ratio = many / one if many and one else None
    note = f"{many:.0f} MB and {one:.0f} MB" if many and one else ""
    if many and alone:
        note += f"; the in-process loop alone: {alone:.0f} MB, {many / alone:.2f} of it"
    text = f"memory (PSS) of {_MANY} slots / of one, after 1,000 jobs"
    yield Target("4", text, 1.5, ratio, "x", at_most=True, note=note)


def _classifier(results: Results, plaid: Table) -> Iterator[Target]:
    yield Target("5", "PLAID: mean accuracy of 5 stratified reshuffles", 0.92, results.accuracy)
    by = results.prediction_by
    prediction = results.prediction_ms if by == "ONNX" else None
    note = f"with the {by}: {results.prediction_ms:.1f} ms" if results.prediction_ms and by != "ONNX" else ""
    yield Target("5", "PLAID: one prediction from ONNX, loaded", 2.0, prediction, "ms", at_most=True, note=note)
    rows = [row for key in ("ours", "ours-onnx") if (row := plaid.row(key)) and row.samples]
    right = min((len(row.signals) for row in rows), default=None)
    names = " and ".join(row.title for row in rows)
    text = "PLAID: test signals through RabbitMQ with the in-process label"
    yield Target("5", text, plaid.signals, right, note=names)


def _replacement(results: Results) -> Iterator[Target]:
    slowest = results.slowest_replacement_ms
    note = f"median {results.replacement_ms:.1f} ms; the answer to another job included" if slowest else ""
    text = "slowest replacement of a killed worker"
    yield Target("6", text, 100.0, slowest, "ms", at_most=True, note=note)


def _reload(results: Results) -> Iterator[Target]:
    text = "p99 during a reload / before"
    for in_flight in sorted({reload.in_flight for reload in results.reloads}):
        some = [reload for reload in results.reloads if reload.in_flight == in_flight]
        ratios = [reload.during_p99_ms / reload.before_p99_ms for reload in some]
        jobs = sum(reload.jobs for reload in some)
        note = f"of {', '.join(f'{ratio:.2f}' for ratio in ratios)}; {jobs} jobs, none lost"
        yield Target("7", f"{text}, {in_flight} in flight", 2.0, median(ratios), "x", at_most=True, note=note)
    if not results.reloads:
        yield Target("7", text, 2.0, None, "x", at_most=True, note=results.reload_skipped or "")
