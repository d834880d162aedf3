"""Signal → feature vector: one fixed list of finite numbers for any signal of 1 to 100,000 points.

Two questions are asked of a signal, how large it is and what shape it has. So the signal is scaled to peak
1 first: shape features are ratios, and size features are logarithms that carry the scale. Scaling first is
also what keeps a signal of 1e300 from overflowing. No feature depends on another signal, so one signal and
a batch give the same numbers; nothing here loops over points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]
Features: TypeAlias = NDArray[np.float32]

# Ratios below the floor and beyond the limit say only "nothing there"; both keep features inside float32.
_FLOOR: Final = 1e-12
_LIMIT: Final = 1e6
_SILENCE: Final = 1e-300  # stands for the peak of an all-zero signal, whose logarithm does not exist

_FRACTIONS: Final = np.linspace(0.0, 1.0, 17)
_LAGS: Final = 24
_BANDS: Final = 24
_SEGMENTS: Final = 8
_SIDE_BINS: Final = 6
# The stretch behind the steepest rise: 16 pieces of 6 samples, about a mains period each where a recording
# has some 300 samples a second (UCR's PLAID), a fraction of one where it has more.
_ONSET_PIECES: Final = 16
_ONSET_PIECE: Final = 6
# The steady part begins when a switch-on transient is usually over, and stops short of the end, where
# recordings are often cut in mid-sample.
_STEADY_FROM: Final = 0.60
_STEADY_TO: Final = 0.97


@dataclass(frozen=True, slots=True)
class _View:
    """A signal as the feature groups see it; every array is scaled to the signal's peak."""

    unit: Vector
    diff: Vector  # as long as unit: the last one is 0, so that a single point has a difference too
    shape: Vector  # unit with mean 0 and standard deviation 1
    steady: Vector
    ripple: Vector  # steady without its median, standard deviation 1
    level: float  # the size of the steady part, never 0: what shapes are measured in
    log_scale: float


def _view(signal: Vector) -> _View:
    peak = float(np.abs(signal).max())
    unit = signal / peak if peak > 0.0 else np.zeros_like(signal)
    steady = _steady_part(unit)
    middle = float(np.median(steady))
    return _View(
        unit=unit,
        diff=np.diff(unit, append=unit[-1]),
        shape=(unit - unit.mean()) / max(float(unit.std()), _FLOOR),
        steady=steady,
        ripple=(steady - middle) / max(float(steady.std()), _FLOOR),
        # A pure alternating current has median 0; its effective value is the level then.
        level=max(abs(middle), float(steady.std()), _FLOOR),
        log_scale=float(np.log10(max(peak, _SILENCE))),
    )


def _steady_part(unit: Vector) -> Vector:
    start = int(unit.size * _STEADY_FROM)
    return unit[start : max(int(unit.size * _STEADY_TO), start + 1)]


def _log(values: Vector) -> Vector:
    return np.log10(np.maximum(np.abs(values), _FLOOR))


def _quantiles(values: Vector) -> Vector:
    """Linear quantiles at `_FRACTIONS`; numpy's own spend ten times as long on their options."""
    ordered = np.sort(values)
    place = _FRACTIONS * (ordered.size - 1)
    below = place.astype(np.intp)
    above = np.minimum(below + 1, ordered.size - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _segments(unit: Vector) -> Vector:
    """Mean, standard deviation, least and greatest value of 8 equal stretches, shape (4, 8)."""
    stretched = unit if unit.size >= _SEGMENTS else np.repeat(unit, _SEGMENTS)
    starts = np.linspace(0, stretched.size, _SEGMENTS, endpoint=False).astype(np.intp)
    sizes = np.diff(starts, append=stretched.size)
    mean = np.add.reduceat(stretched, starts) / sizes
    # Two passes: the difference of mean squares would leave rounding noise where a stretch is constant.
    deviation = stretched - np.repeat(mean, sizes)
    return np.stack(
        [
            mean,
            np.sqrt(np.add.reduceat(deviation * deviation, starts) / sizes),
            np.minimum.reduceat(stretched, starts),
            np.maximum.reduceat(stretched, starts),
        ]
    )


def _size(view: _View) -> Vector:
    """How large: log10 of what is in the signal's own unit, and log10 of its number of points."""
    unit = view.unit
    sizes = np.array([np.abs(unit).mean(), unit.std(), view.level, view.steady.std(), np.abs(view.diff).mean()])
    logs = _log(np.concatenate([sizes, _quantiles(unit), _segments(unit).ravel()]))
    return np.concatenate([[np.log10(unit.size), view.log_scale], view.log_scale + logs])


def _distribution(view: _View) -> Vector:
    """Moments, and quantiles of values and of steps, relative to the steady level."""
    cubed = view.shape**3
    moments = [cubed.mean(), (cubed * view.shape).mean(), view.unit.mean() / view.level]
    values = _quantiles(view.unit)
    steps = _quantiles(np.abs(view.diff)) / view.level
    return np.concatenate([moments, values, values / view.level, steps])


def _steady_state(view: _View) -> Vector:
    """The steady part alone: its waveform's moments, range, slope and quantiles."""
    cubed = view.ripple**3
    along = np.linspace(-0.5, 0.5, view.steady.size)
    slope = 12.0 * float((along * view.steady).mean()) / view.level
    moments = [
        cubed.mean(),
        (cubed * view.ripple).mean(),
        view.steady.std() / view.level,
        (view.steady.max() - view.steady.min()) / view.level,
        slope,
    ]
    steps = np.diff(view.ripple, append=view.ripple[-1])
    return np.concatenate([moments, _quantiles(view.ripple), _quantiles(steps)])


def _autocorrelation(values: Vector) -> Vector:
    """Lags 1 to 24, by the Wiener-Khinchin theorem: the transform of the power spectrum."""
    power = np.abs(np.fft.rfft(values, 2 * max(values.size, _LAGS + 1))) ** 2
    lags = np.fft.irfft(power)[: _LAGS + 1]
    return lags[1:] / max(float(lags[0]), _FLOOR)


def _spectrum(values: Vector) -> Vector:
    """log10 of the share of power in 24 equal bands up to half the sampling rate, then the strongest line.

    The six bins on either side of that line are taken as well: modulation (a broken rotor bar, a beating
    load) shows there and is lost in a band.
    """
    centred = (values - values.mean()) * np.hanning(values.size + 2)[1:-1]
    power = np.abs(np.fft.rfft(centred, max(64, values.size))) ** 2
    share = power / max(float(power.sum()), _FLOOR**2)
    edges = np.linspace(0, share.size, _BANDS, endpoint=False).astype(np.intp)
    frequency = np.linspace(0.0, 0.5, share.size)
    top = int(share.argmax())
    around = np.pad(share, _SIDE_BINS)[top : top + 2 * _SIDE_BINS + 1]
    line = [frequency[top], share[top], share @ frequency, -(share @ np.log(share + _FLOOR))]
    return np.concatenate([_log(np.add.reduceat(share, edges)), line, _log(np.delete(around, _SIDE_BINS))])


def _outline(view: _View) -> Vector:
    """The eight segments relative to the steady level."""
    return _segments(view.unit).ravel() / view.level


def _onset(view: _View) -> Vector:
    """At the steepest rise: where it is, what was before, and the envelope of the 96 samples behind it."""
    at = int(view.diff.argmax())
    wanted = _ONSET_PIECES * _ONSET_PIECE
    behind = view.unit[at + 1 : at + 1 + wanted]
    behind = np.pad(behind, (0, wanted - behind.size), constant_values=view.unit[-1])
    pieces = behind.reshape(_ONSET_PIECES, _ONSET_PIECE)
    before = float(np.median(view.unit[: at + 1]))
    place = [at, at / view.unit.size, before / view.level, view.diff[at] / view.level]
    envelope = np.concatenate([pieces.max(1), pieces.min(1), pieces.mean(1), pieces.std(1)])
    return np.concatenate([place, envelope / view.level])


def _numbered(stem: str, numbers: Iterable[int]) -> list[str]:
    return [f"{stem}_{number:02d}" for number in numbers]


def _at_fractions(stem: str) -> list[str]:
    return [f"{stem}_q{100 * fraction:.0f}" for fraction in _FRACTIONS]


def _per_piece(stem: str, statistics: Sequence[str], pieces: int) -> list[str]:
    return list(chain.from_iterable(_numbered(f"{stem}_{name}", range(pieces)) for name in statistics))


def _line_names(stem: str) -> list[str]:
    side = [f"{stem}_line{offset:+d}" for offset in range(-_SIDE_BINS, _SIDE_BINS + 1) if offset]
    line = [f"{stem}_{name}" for name in ("line_frequency", "line_share", "centroid", "entropy")]
    return [*_numbered(f"{stem}_band", range(_BANDS)), *line, *side]


_SEGMENT_STATISTICS: Final = ("mean", "std", "min", "max")

# A group is its names and its function; their order is the vector's, and part of every saved model.
_GROUPS: Final[tuple[tuple[list[str], Callable[[_View], Vector]], ...]] = (
    (
        [
            *("log_points", "log_peak", "log_mean_abs", "log_std", "log_level", "log_ripple", "log_step"),
            *_at_fractions("log_value"),
            *_per_piece("log_segment", _SEGMENT_STATISTICS, _SEGMENTS),
        ],
        _size,
    ),
    (
        [
            *("skewness", "kurtosis", "mean"),
            *chain.from_iterable(map(_at_fractions, ("unit", "value", "step"))),
        ],
        _distribution,
    ),
    (
        [
            *("steady_skewness", "steady_kurtosis", "steady_std", "steady_range", "steady_slope"),
            *chain.from_iterable(map(_at_fractions, ("ripple", "ripple_step"))),
        ],
        _steady_state,
    ),
    (_numbered("steady_lag", range(1, _LAGS + 1)), lambda view: _autocorrelation(view.ripple)),
    (_numbered("lag", range(1, _LAGS + 1)), lambda view: _autocorrelation(view.shape)),
    (_line_names("steady"), lambda view: _spectrum(view.steady)),
    (_line_names("whole"), lambda view: _spectrum(view.unit)),
    (_per_piece("segment", _SEGMENT_STATISTICS, _SEGMENTS), _outline),
    (
        [
            *("onset_at", "onset_fraction", "onset_before", "onset_step"),
            *_per_piece("onset", ("max", "min", "mean", "std"), _ONSET_PIECES),
        ],
        _onset,
    ),
)

FEATURE_NAMES: Final[tuple[str, ...]] = tuple(chain.from_iterable(names for names, _ in _GROUPS))


def extract(signal: Vector) -> Features:
    """The feature vector of one signal, shape `(len(FEATURE_NAMES),)`, in the order of `FEATURE_NAMES`.

    `signal` is one-dimensional, not empty and finite: whoever takes it from outside has checked that.
    float32, because that is what trees compare in: every runtime of a model then sees the same numbers.
    """
    view = _view(signal)
    values = np.concatenate([group(view) for _, group in _GROUPS])
    vector: Features = np.clip(values, -_LIMIT, _LIMIT).astype(np.float32)
    return vector


def extract_all(signals: Sequence[Vector]) -> Features:
    """The feature vectors of several signals, shape `(len(signals), len(FEATURE_NAMES))`."""
    rows = [extract(signal) for signal in signals]
    return np.stack(rows) if rows else np.empty((0, len(FEATURE_NAMES)), np.float32)
