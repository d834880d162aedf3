"""What can be asked about the metrics: each kind of query, by the metrics' own names.

How a query is put to Graphite and to Prometheus is in dialects.py. The names are in consumer/telemetry/metrics.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fold = Literal["sum", "min", "max", "each"]


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a counter counts, all hosts together: per second, or per minute where it is rare."""

    name: str
    legend: str
    per_s: Literal[1, 60] = 60


@dataclass(frozen=True, slots=True)
class ByCode:
    """The rate per minute of a counter that has a part `<code>` in its name, a line for each code."""

    name: str


@dataclass(frozen=True, slots=True)
class Share:
    """How many in a hundred of the whole are the part: counters."""

    part: tuple[str, ...]
    whole: tuple[str, ...]
    legend: str


@dataclass(frozen=True, slots=True)
class Filled:
    """How many in a hundred of the whole are the part: gauges."""

    part: str
    whole: str
    legend: str


@dataclass(frozen=True, slots=True)
class Time:
    """A timer, in seconds: the half that is faster, all but one in twenty; of hosts, the slowest."""

    name: str
    percentile: Literal[50, 95]
    legend: str


@dataclass(frozen=True, slots=True)
class Level:
    """A gauge, of all hosts together, or a line for each host."""

    name: str
    fold: Fold
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Count:
    """How often a counter has counted in the time that is looked at."""

    name: str


Query = Rate | ByCode | Share | Filled | Time | Level | Count
