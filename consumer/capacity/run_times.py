"""Run times from a metrics page: the histogram of a consumer that has worked, as a distribution.

A histogram tells how many values lie between two bounds, and their sum. Where in its bucket a value lies is not
known: all are placed in the same way, and so that the mean is right. Pure: a page's text in.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from consumer.capacity.service_times import ServiceTime
from consumer.errors import ConfigurationError
from consumer.telemetry.prometheus import prometheus_name

RUN = prometheus_name("jobs.run", "timer")
#: Beyond the last bound a bucket has no end; it is taken to reach to so many times that bound, or further.
OPEN_END = 2.0


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram of Prometheus: upper bounds in seconds, how many values are in each bucket, their sum."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total_s: float

    @property
    def count(self) -> int:
        """How many values in all."""
        return sum(self.counts)


def read_page(text: str, family: str = RUN) -> Buckets:
    """Find a histogram on a metrics page; several consumers' pages may stand one after the other.

    Raises:
        ConfigurationError: it is not there, or nothing has been counted.
    """
    below: dict[float, int] = {}
    total = 0.0
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        try:
            if series.startswith(f"{family}_bucket{{"):
                bound = float(series.partition('le="')[2].partition('"')[0])
                below[bound] = below.get(bound, 0) + int(float(value))
            elif series.partition("{")[0] == f"{family}_sum":
                total += float(value)
        except ValueError:
            raise ConfigurationError(f"the metrics page has a line that is no metric: {line[:200]!r}") from None
    bounds = sorted(below)
    counts = _differences([below[bound] for bound in bounds])
    if not sum(counts) or total <= 0:
        raise ConfigurationError(
            f"there are no run times ({family}) on that page: is it `/metrics` of a consumer that has run jobs?"
        )
    return Buckets(tuple(bounds), tuple(counts), total)


def _differences(sums: Sequence[int]) -> list[int]:
    return [sums[0], *(after - before for before, after in pairwise(sums))] if sums else []


def from_buckets(found: Buckets, description: str) -> ServiceTime:
    """Put each value into its bucket, all in the same way, so that the mean is the one that was measured.

    In a bucket from `low` to `high` a value is low + (high - low) u^k with u uniform: its mean lies at the share
    1 / (k + 1) of the bucket, and k follows from the sum of all values.
    """
    filled = [place for place, count in enumerate(found.counts) if count]
    lows = [found.bounds[place - 1] if place else 0.0 for place in filled]
    shares = [found.counts[place] / found.count for place in filled]
    mean = found.total_s / found.count
    base = math.fsum(share * low for share, low in zip(shares, lows, strict=True))
    highs = _highs([found.bounds[place] for place in filled], shares, lows, mean - base)
    width = math.fsum(share * (high - low) for share, low, high in zip(shares, lows, highs, strict=True))
    place = min(max((mean - base) / width, 1e-3), 1.0)
    k = 1 / place - 1
    second = math.fsum(
        share * (low**2 + 2 * low * (high - low) * place + (high - low) ** 2 / (2 * k + 1))
        for share, low, high in zip(shares, lows, highs, strict=True)
    )
    sums = list(accumulate(shares))

    def quantile(u: float) -> float:
        at = min(bisect_left(sums, u), len(sums) - 1)
        inside = min(max((u - sums[at]) / shares[at] + 1, 0.0), 1.0)
        return float(lows[at] + (highs[at] - lows[at]) * inside**k)

    return ServiceTime(description, quantile, mean, max(0.0, second / mean**2 - 1))


def _highs(bounds: list[float], shares: list[float], lows: list[float], above_lows: float) -> list[float]:
    """The bounds; the last one, where it is infinite, far enough for the mean that was measured."""
    if math.isfinite(bounds[-1]):
        return bounds
    high = max(lows[-1], 1e-3) * OPEN_END
    finite = list(zip(shares[:-1], lows[:-1], bounds[:-1], strict=True))
    while above_lows > math.fsum(
        share * (top - low) for share, low, top in [*finite, (shares[-1], lows[-1], high)]
    ):
        high *= OPEN_END
    return [*bounds[:-1], high]
