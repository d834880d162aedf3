"""Keeps counters, gauges and histograms, and formats them for Prometheus.

metrics.py lists their names; only this module derives Prometheus's names from these. Every series exists from the
start, because Prometheus does not count the first event of a counter that appears with it. No I/O; not
thread-safe.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from consumer.job import ErrorCode

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Prometheus distinguishes consumers by its own labels `job` and `instance`.
NAMESPACE = "classifier_"
SUFFIXES = {"counter": "_total", "gauge": "", "timer": "_seconds"}
TYPES = {"counter": "counter", "gauge": "gauge", "timer": "histogram"}
#: The statuses that a gateway answers with.
STATUSES = ("200", "202", "400", "401", "404", "405", "408", "410", "413", "415", "500", "503", "504")
#: The variable part of a name -> its label, and all values of the label.
LABELS = {".<code>": ("code", tuple(ErrorCode)), ".<status>": ("status", STATUSES)}


def prometheus_name(name: str, kind: str) -> str:
    """Derive Prometheus's name: it ends with the unit or `_total`, and a label replaces the variable part."""
    for placeholder in LABELS:
        name = name.removesuffix(placeholder)
    return NAMESPACE + name.replace(".", "_") + SUFFIXES[kind]


class Histogram:
    """Counts values per bucket. Mutable state: `counts`, by bucket; `total`, the sum of all values."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, family: str) -> Iterator[str]:
        """Format each bucket, which in Prometheus includes all buckets below it."""
        below = 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            below += count
            yield f'{family}_bucket{{le="{bound}"}} {below}'
        yield f"{family}_sum {self.total}"
        yield f"{family}_count {below}"


class Registry:
    """Keeps all values. Mutable state: `_values` and `_times`, by their names in metrics.py."""

    def __init__(self, names: Mapping[str, str], bounds: Mapping[str, Sequence[float]]) -> None:
        """Start all at zero. `names`: each name's kind and meaning; `bounds`: the buckets of each timer."""
        self._names = {name: text.split(": ", 1) for name, text in names.items()}
        self._times = {name: Histogram(bounds[name]) for name, (kind, _) in self._names.items() if kind == "timer"}
        self._values: dict[str, float] = {
            series: 0 for name, (kind, _) in self._names.items() if kind != "timer" for series, _ in _series(name)
        }

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self._values[name] += by

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._values[name] = value

    def value(self, name: str) -> float:
        """Return the value of a counter or gauge."""
        return self._values[name]

    def time(self, name: str, seconds: float) -> None:
        """Add a time to a histogram."""
        self._times[name].add(seconds)

    def text(self) -> str:
        """Format all metrics in Prometheus's text format, version 0.0.4."""
        return "".join(f"{line}\n" for name in self._names for line in self._family(name))

    def _family(self, name: str) -> Iterator[str]:
        kind, meaning = self._names[name]
        family = prometheus_name(name, kind)
        yield f"# HELP {family} {meaning}"
        yield f"# TYPE {family} {TYPES[kind]}"
        if kind == "timer":
            yield from self._times[name].lines(family)
            return
        for series, labels in _series(name):
            yield f"{family}{labels} {self._values[series]}"


def _series(name: str) -> Iterator[tuple[str, str]]:
    """List the series of a name, each with its labels. Most names have one, without labels."""
    for placeholder, (label, values) in LABELS.items():
        if name.endswith(placeholder):
            stem = name.removesuffix(placeholder)
            yield from ((f"{stem}.{value}", f'{{{label}="{value}"}}') for value in values)
            return
    yield name, ""
