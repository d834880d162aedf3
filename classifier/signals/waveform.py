"""Prepares a signal for its features: scales, cuts and sorts it once. No code here loops over points.

The arithmetic of some hundred points takes a microsecond, so most of the time goes into calls. This module
computes values that several features need once, and caches values that depend only on the number of points
(`LengthPlan`). It uses only plain functions of numpy, because `mean`, `std`, `median`, `quantile` and `pad` spend
most of their time on their options. All this reduces the time of a feature vector to a quarter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]

FLOOR: Final = 1e-12  # smaller ratios are rounding noise
FRACTIONS: Final = np.linspace(0.0, 1.0, 17)
SEGMENTS: Final = 8
BANDS: Final = 24

_MEDIAN: Final = 8  # the median's index in FRACTIONS
_SHORTEST_TRANSFORM: Final = 64
_SILENCE: Final = 1e-300  # replaces the peak of an all-zero signal, because 0 has no logarithm
# The steady part begins when a switch-on transient is usually over, and ends before the end of the recording,
# which is often cut off.
_STEADY_FROM: Final = 0.60
_STEADY_TO: Final = 0.97
# A plan costs as much as the features of 300 points, but little compared to those of more than 2048. Each length
# of signal needs two plans of up to 50 KB, all together 12 MB at most.
_LONGEST_REMEMBERED: Final = 2048
_REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class LengthPlan:
    """Values that depend only on the number of points.

    A quantile lies between the sorted values at `below` and `above`, at the fraction `rest` of the distance.
    `along` rises from -0.5 to 0.5, for the slope. A signal shorter than the number of segments is first stretched:
    each point is repeated `repeats` times. `starts` and `sizes` describe the segments of the stretched signal. The
    last four belong to the spectrum: the window, the transform's length, the frequency of each line in cycles per
    sample, and the first line of each band.
    """

    below: NDArray[np.intp]
    above: NDArray[np.intp]
    rest: Vector
    along: Vector
    repeats: int
    starts: NDArray[np.intp]
    sizes: NDArray[np.intp]
    window: Vector
    transform: int
    frequency: Vector
    bands: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A section of a signal. `quantiles[0]`: of its values; `quantiles[1]`: of its steps."""

    plan: LengthPlan
    values: Vector
    shape: Vector  # scaled to mean 0 and deviation 1; all 0 if the deviation is 0
    mean: float
    std: float
    quantiles: Vector

    @property
    def median(self) -> float:
        return float(self.quantiles[0, _MEDIAN])


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """A signal prepared for its features, scaled to peak 1."""

    whole: Part
    steady: Part
    rises: Vector  # the change from each point to the next; 0 at the last point
    steps: Vector  # the absolute values of the rises
    segments: Vector  # mean, standard deviation, least and greatest value of 8 equal stretches, shape (4, 8)
    level: float  # the size of the steady part, never 0; shape features are relative to it
    log_scale: float


def waveform(signal: Vector) -> Waveform:
    """Prepare one signal, which must be finite and not empty. The signal itself stays unchanged."""
    peak = float(np.maximum.reduce(np.abs(signal)))
    unit = signal / peak if peak > 0.0 else np.zeros_like(signal)
    rises = np.zeros_like(unit)
    np.subtract(unit[1:], unit[:-1], out=rises[:-1])
    steps = np.abs(rises)
    start = int(unit.size * _STEADY_FROM)
    stop = max(int(unit.size * _STEADY_TO), start + 1)
    whole, steady = _part(unit, steps), _part(unit[start:stop], rises[start:stop])
    return Waveform(
        whole=whole,
        steady=steady,
        rises=rises,
        steps=steps,
        segments=_segments(whole),
        # A pure alternating current has median 0; its effective value is the level then.
        level=max(abs(steady.median), steady.std, FLOOR),
        log_scale=float(np.log10(max(peak, _SILENCE))),
    )


def _part(values: Vector, steps: Vector) -> Part:
    plan = _plan(values.size)
    mean = float(np.add.reduce(values)) / values.size
    centred = values - mean
    std = float(centred @ centred / values.size) ** 0.5
    # Without this check, rounding noise would have a shape.
    shape = centred / std if std > FLOOR else np.zeros_like(centred)
    return Part(plan, values, shape, mean, std, _quantiles(plan, values, steps))


def _quantiles(plan: LengthPlan, values: Vector, steps: Vector) -> Vector:
    """Compute linear quantiles at `FRACTIONS`, shape (2, 17), with one sort."""
    ordered = np.empty((2, values.size))
    ordered[0], ordered[1] = values, steps
    ordered[1, -1] = 0.0  # the last value has no step
    ordered.sort(axis=1)
    below = ordered.take(plan.below, axis=1)
    quantiles: Vector = below + plan.rest * (ordered.take(plan.above, axis=1) - below)
    return quantiles


def _segments(whole: Part) -> Vector:
    plan = whole.plan
    stretched = whole.values if plan.repeats == 1 else whole.values.repeat(plan.repeats)
    segments = np.empty((4, SEGMENTS))
    mean, std, least, greatest = segments
    np.divide(np.add.reduceat(stretched, plan.starts), plan.sizes, out=mean)
    # Two passes: a difference of mean squares would leave rounding noise in a constant stretch.
    deviation = stretched - mean.repeat(plan.sizes)
    np.sqrt(np.add.reduceat(deviation * deviation, plan.starts) / plan.sizes, out=std)
    np.minimum.reduceat(stretched, plan.starts, out=least)
    np.maximum.reduceat(stretched, plan.starts, out=greatest)
    return segments


def _plan(points: int) -> LengthPlan:
    return _remembered_plan(points) if points <= _LONGEST_REMEMBERED else _new_plan(points)


def _new_plan(points: int) -> LengthPlan:
    place = FRACTIONS * (points - 1)
    below = place.astype(np.intp)
    repeats = 1 if points >= SEGMENTS else SEGMENTS
    starts = _equal_parts(points * repeats, SEGMENTS)
    transform = max(_SHORTEST_TRANSFORM, points)
    lines = transform // 2 + 1
    return LengthPlan(
        below=below,
        above=np.minimum(below + 1, points - 1),
        rest=place - below,
        along=np.linspace(-0.5, 0.5, points),
        repeats=repeats,
        starts=starts,
        sizes=np.diff(starts, append=points * repeats),
        window=np.hanning(points + 2)[1:-1],
        transform=transform,
        frequency=np.linspace(0.0, 0.5, lines),
        bands=_equal_parts(lines, BANDS),
    )


_remembered_plan: Final = lru_cache(_REMEMBERED)(_new_plan)


def _equal_parts(whole: int, parts: int) -> NDArray[np.intp]:
    return np.linspace(0, whole, parts, endpoint=False).astype(np.intp)
