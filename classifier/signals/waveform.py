"""Prepares a signal once for all its features: scaled, cut, sorted. No code here loops over points.

The arithmetic of some hundred points takes a microsecond, so most of the time goes into calls. Values that several
features need are computed here once. Values that depend only on the number of points are cached (`LengthPlan`).
Only plain functions of numpy are used, because `mean`, `std`, `median`, `quantile` and `pad` spend several times
the work itself on their options. A vector of features so takes a quarter of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]

FLOOR: Final = 1e-12  # a ratio below it says only "nothing there"
FRACTIONS: Final = np.linspace(0.0, 1.0, 17)
SEGMENTS: Final = 8
BANDS: Final = 24

_MEDIAN: Final = 8  # its place in FRACTIONS
_SHORTEST_TRANSFORM: Final = 64
_SILENCE: Final = 1e-300  # stands for the peak of an all-zero signal, whose logarithm does not exist
# The steady part begins when a switch-on transient is usually over, and stops short of the end, where
# recordings are often cut in mid-sample.
_STEADY_FROM: Final = 0.60
_STEADY_TO: Final = 0.97
# A plan costs as much as the features of 300 points, but little beside those of more than 2048. Each length
# of signal needs two plans, of up to 50 KB: 12 MB at most.
_LONGEST_REMEMBERED: Final = 2048
_REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class LengthPlan:
    """Values that depend only on the number of points.

    A quantile is at the sorted value `below` it, and `rest` of the way from there to the one `above`. `along` goes
    from -0.5 to 0.5. `starts` and `sizes` are those of the segments of a signal in which each point is repeated
    `repeats` times. The last four belong to the spectrum: the window, the transform's length, the frequency of
    each line in cycles per sample, and the first line of each band.
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
    """A section of a signal; `quantiles[0]` are those of its values, `quantiles[1]` those of its steps."""

    plan: LengthPlan
    values: Vector
    shape: Vector  # with mean 0 and deviation 1, or all 0 where there is none
    mean: float
    std: float
    quantiles: Vector

    @property
    def median(self) -> float:
        """The middle value."""
        return float(self.quantiles[0, _MEDIAN])


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """A signal as the features use it, scaled to its peak."""

    whole: Part
    steady: Part
    rises: Vector  # as many as values: the last is 0, so that a single point has one too
    steps: Vector  # their size
    segments: Vector  # mean, standard deviation, least and greatest value of 8 equal stretches, shape (4, 8)
    level: float  # the size of the steady part, never 0: what shapes are measured in
    log_scale: float


def waveform(signal: Vector) -> Waveform:
    """Prepare one signal, which is not empty and is finite. The signal is not changed."""
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
    # Rounding noise would have a shape too.
    shape = centred / std if std > FLOOR else np.zeros_like(centred)
    return Part(plan, values, shape, mean, std, _quantiles(plan, values, steps))


def _quantiles(plan: LengthPlan, values: Vector, steps: Vector) -> Vector:
    """Linear quantiles at `FRACTIONS`, shape (2, 17): one sort for all of them."""
    ordered = np.empty((2, values.size))
    ordered[0], ordered[1] = values, steps
    ordered[1, -1] = 0.0  # from the last value there is no step
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
    # Two passes: the difference of mean squares would leave rounding noise where a stretch is constant.
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
