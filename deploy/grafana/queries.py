"""Defines the kinds of queries about the metrics, by the metrics' own names.

dialects.py translates them for Graphite and Prometheus. consumer/telemetry/metrics.py has the names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fold = Literal["sum", "min", "max", "each"]


@dataclass(frozen=True, slots=True)
class Rate:
    """The rate of a counter, summed over all hosts: per second, or per minute for rare events."""

    name: str
    legend: str
    per_s: Literal[1, 60] = 60


@dataclass(frozen=True, slots=True)
class ByCode:
    """The rate per minute of a counter with the part `<code>` in its name: a line for each code."""

    name: str


@dataclass(frozen=True, slots=True)
class Share:
    """The percentage of some counters in others."""

    part: tuple[str, ...]
    whole: tuple[str, ...]
    legend: str


@dataclass(frozen=True, slots=True)
class Filled:
    """The percentage of one gauge in another."""

    part: str
    whole: str
    legend: str


@dataclass(frozen=True, slots=True)
class Time:
    """The median or the 95th percentile of a timer, in seconds. Graphite shows that of the slowest host."""

    name: str
    percentile: Literal[50, 95]
    legend: str


@dataclass(frozen=True, slots=True)
class Level:
    """A gauge: all hosts folded into one line, or a line for each host."""

    name: str
    fold: Fold
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Count:
    """The growth of a counter within the window of an alert."""

    name: str


Query = Rate | ByCode | Share | Filled | Time | Level | Count
