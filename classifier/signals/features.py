"""Computes the feature vector of a signal of 1 to 100,000 points: always the same list of finite numbers.

The features describe the size and the shape of a signal. The signal is first scaled to peak 1 (`waveform.py`).
Shape features are ratios; size features are logarithms and include the scale. The scaling also keeps a signal of
1e300 from overflowing. No feature depends on another signal, so a signal has the same features alone and in a
batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain, pairwise
from typing import Final, TypeAlias

import numpy as np
from numpy import fft  # imported here; otherwise every forked worker would import it at its first use
from numpy.typing import NDArray

from classifier.signals.waveform import BANDS, FLOOR, FRACTIONS, SEGMENTS, Part, Vector, Waveform, waveform

Features: TypeAlias = NDArray[np.float32]

_LIMIT: Final = 1e6  # larger ratios carry no more information; keeps features within float32
_LAGS: Final = 24
_SIDE_BINS: Final = 6
# The stretch after the steepest rise: 16 pieces of 6 samples. In a recording with some 300 samples a second (UCR's
# PLAID), a piece is about a mains period; with more samples a second, a fraction of one.
_ONSET_PIECES: Final = 16
_ONSET_PIECE: Final = 6


def _size(wave: Waveform, out: Vector) -> None:
    """Compute the size: log10 of quantities in the signal's own unit, and log10 of its number of points."""
    unit = wave.whole.values
    mean_abs, mean_step = np.add.reduce(np.abs(unit)) / unit.size, np.add.reduce(wave.steps) / unit.size
    sizes = mean_abs, wave.whole.std, wave.level, wave.steady.std, mean_step
    out[:2], logs = (np.log10(unit.size), wave.log_scale), out[2:]
    np.concatenate((sizes, wave.whole.quantiles[0], wave.segments.ravel()), out=logs)
    _to_logs(logs)
    logs += wave.log_scale


def _distribution(wave: Waveform, out: Vector) -> None:
    """Compute moments and quantiles of values, and quantiles of steps relative to the steady level."""
    out[:2] = _moments(wave.whole)
    out[2] = wave.whole.mean / wave.level
    values, steps = out[3:].reshape(2, -1)
    values[:], steps[:] = wave.whole.quantiles
    steps /= wave.level


def _steady_state(wave: Waveform, out: Vector) -> None:
    """Compute moments, range, slope and quantiles of the steady part."""
    steady = wave.steady
    slope = 12.0 * float(steady.plan.along @ steady.values) / steady.values.size
    out[:2] = _moments(steady)
    out[2:5] = steady.std, steady.quantiles[0, -1] - steady.quantiles[0, 0], slope
    out[2:5] /= wave.level
    values, steps = out[5:].reshape(2, -1)
    values[:], steps[:] = steady.quantiles
    values -= steady.median
    out[5:] /= max(steady.std, FLOOR)


def _moments(part: Part) -> tuple[float, float]:
    squared = part.shape * part.shape
    return float(squared @ part.shape) / squared.size, float(squared @ squared) / squared.size


def _autocorrelation(part: Part, out: Vector) -> None:
    """Compute the autocorrelation at lags 1 to 24, relative to lag 0."""
    extended = np.zeros(part.shape.size + _LAGS)
    extended[: part.shape.size] = part.shape
    lags = np.correlate(extended, part.shape, "valid")
    np.divide(lags[1:], max(float(lags[0]), FLOOR), out=out)


def _spectrum(part: Part, out: Vector) -> None:
    """Compute the features of the spectrum: log10 of the share of power in each band, and the strongest line.

    There are 24 equal bands up to half the sampling rate. The six bins on each side of the strongest line are
    features, too: they show modulation (a broken rotor bar, a beating load), which a band hides.
    """
    plan = part.plan
    lines = fft.rfft(part.shape * plan.window, plan.transform)
    # Padded, so that a line at either end has bins on both sides, too.
    padded = np.zeros(lines.size + 2 * _SIDE_BINS)
    share = padded[_SIDE_BINS:-_SIDE_BINS]
    np.add(lines.real**2, lines.imag**2, out=share)
    share /= max(float(np.add.reduce(share)), FLOOR)
    top = int(share.argmax())
    bands, line, around = out[:BANDS], out[BANDS : BANDS + 4], out[BANDS + 4 :]
    np.add.reduceat(share, plan.bands, out=bands)
    _to_logs(bands)
    entropy = -float(share @ np.log(share + FLOOR))
    line[:] = plan.frequency[top], share[top], share @ plan.frequency, entropy
    around[:_SIDE_BINS] = padded[top : top + _SIDE_BINS]
    around[_SIDE_BINS:] = padded[top + _SIDE_BINS + 1 : top + 2 * _SIDE_BINS + 1]
    _to_logs(around)


def _outline(wave: Waveform, out: Vector) -> None:
    """Compute statistics of the eight segments, relative to the steady level."""
    np.divide(wave.segments.ravel(), wave.level, out=out)


def _onset(wave: Waveform, out: Vector) -> None:
    """Describe the steepest rise: its position, the level before it, and the envelope of 96 samples after it."""
    unit, at = wave.whole.values, int(wave.rises.argmax())
    behind = unit[at + 1 : at + 1 + _ONSET_PIECES * _ONSET_PIECE]
    pieces = np.full((_ONSET_PIECES, _ONSET_PIECE), unit[-1])
    pieces.ravel()[: behind.size] = behind
    out[:4] = at, at / unit.size, _median(unit[: at + 1]) / wave.level, wave.rises[at] / wave.level
    greatest, least, mean, std = envelope = out[4:].reshape(4, -1)
    np.maximum.reduce(pieces, axis=1, out=greatest)
    np.minimum.reduce(pieces, axis=1, out=least)
    np.divide(np.add.reduce(pieces, axis=1), _ONSET_PIECE, out=mean)
    pieces -= mean[:, None]
    np.sqrt(np.add.reduce(pieces * pieces, axis=1) / _ONSET_PIECE, out=std)
    envelope /= wave.level


def _median(values: Vector) -> float:
    ordered = np.sort(values)
    return 0.5 * float(ordered[(values.size - 1) // 2] + ordered[values.size // 2])


def _to_logs(values: Vector) -> None:
    """Replace each value by the log10 of its absolute value, in place."""
    np.abs(values, out=values)
    np.maximum(values, FLOOR, out=values)
    np.log10(values, out=values)


def _numbered(stem: str, numbers: Iterable[int]) -> list[str]:
    return [f"{stem}_{number:02d}" for number in numbers]


def _at_fractions(stem: str) -> list[str]:
    return [f"{stem}_q{100 * fraction:.0f}" for fraction in FRACTIONS]


def _per_piece(stem: str, statistics: Sequence[str], pieces: int) -> list[str]:
    return list(chain.from_iterable(_numbered(f"{stem}_{name}", range(pieces)) for name in statistics))


def _line_names(stem: str) -> list[str]:
    side = [f"{stem}_line{offset:+d}" for offset in range(-_SIDE_BINS, _SIDE_BINS + 1) if offset]
    line = [f"{stem}_{name}" for name in ("line_frequency", "line_share", "centroid", "entropy")]
    return [*_numbered(f"{stem}_band", range(BANDS)), *line, *side]


_SEGMENT_STATISTICS: Final = ("mean", "std", "min", "max")

# A group has the names of its features and the function that computes them. The order of the names is the order of
# the vector, and part of every saved model.
_GROUPS: Final[tuple[tuple[list[str], Callable[[Waveform, Vector], None]], ...]] = (
    (
        [
            *("log_points", "log_peak", "log_mean_abs", "log_std", "log_level", "log_ripple", "log_step"),
            *_at_fractions("log_value"),
            *_per_piece("log_segment", _SEGMENT_STATISTICS, SEGMENTS),
        ],
        _size,
    ),
    (
        [
            *("skewness", "kurtosis", "mean"),
            *chain.from_iterable(map(_at_fractions, ("unit", "step"))),
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
    (_numbered("steady_lag", range(1, _LAGS + 1)), lambda wave, out: _autocorrelation(wave.steady, out)),
    (_numbered("lag", range(1, _LAGS + 1)), lambda wave, out: _autocorrelation(wave.whole, out)),
    (_line_names("steady"), lambda wave, out: _spectrum(wave.steady, out)),
    (_line_names("whole"), lambda wave, out: _spectrum(wave.whole, out)),
    (_per_piece("segment", _SEGMENT_STATISTICS, SEGMENTS), _outline),
    (
        [
            *("onset_at", "onset_fraction", "onset_before", "onset_step"),
            *_per_piece("onset", ("max", "min", "mean", "std"), _ONSET_PIECES),
        ],
        _onset,
    ),
)

FEATURE_NAMES: Final[tuple[str, ...]] = tuple(chain.from_iterable(names for names, _ in _GROUPS))

_PLACES: Final = [
    slice(start, stop) for start, stop in pairwise(accumulate((len(names) for names, _ in _GROUPS), initial=0))
]


def extract(signal: Vector) -> Features:
    """Return the feature vector of one signal, shape `(len(FEATURE_NAMES),)`, in the order of `FEATURE_NAMES`.

    The reader of `signal` has checked that it is one-dimensional, not empty and finite. The result is float32,
    because trees compare in float32: every runtime of a model then gets the same numbers.
    """
    wave = waveform(signal)
    values = np.empty(len(FEATURE_NAMES))
    for place, (_, group) in zip(_PLACES, _GROUPS, strict=True):
        group(wave, values[place])
    np.maximum(values, -_LIMIT, out=values)
    np.minimum(values, _LIMIT, out=values)
    return values.astype(np.float32)


def extract_all(signals: Sequence[Vector]) -> Features:
    """Return the feature vectors of several signals, shape `(len(signals), len(FEATURE_NAMES))`."""
    rows = np.empty((len(signals), len(FEATURE_NAMES)), np.float32)
    for row, signal in zip(rows, signals, strict=True):
        row[:] = extract(signal)
    return rows
