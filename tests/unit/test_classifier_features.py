"""Features: finite and as many, for every signal there is; and saying what their names promise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from classifier.signals.features import FEATURE_NAMES, extract, extract_all
from classifier.signals.signals import MAX_POINTS, Signal
from classifier.signals.waveform import waveform

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SIGNALS = arrays(np.float64, st.integers(1, 2000), elements=FINITE)


def feature(signal: Signal, name: str) -> float:
    return float(extract(signal)[FEATURE_NAMES.index(name)])


def sine(period: float, points: int = 400, height: float = 1.0) -> Signal:
    wave: Signal = height * np.sin(2.0 * np.pi * np.arange(points) / period)
    return wave


@given(SIGNALS)
def test_any_finite_signal_gives_the_same_number_of_finite_features(signal: Signal) -> None:
    vector = extract(signal)
    assert vector.shape == (len(FEATURE_NAMES),)
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()


@pytest.mark.parametrize(
    "signal",
    [
        np.zeros(1),
        np.array([5e-324]),
        np.array([1e300, -1e300]),
        np.full(300, 470.0),
        np.zeros(300),
        np.array([0.0, 1e-310] * 50),
        np.tile([1e308, 1e-308], 200),
        np.arange(float(MAX_POINTS)),
    ],
    ids=["one zero", "denormal", "two huge", "constant", "silence", "tiny", "huge and tiny", "longest"],
)
def test_extreme_signals_give_finite_features(signal: Signal) -> None:
    assert np.isfinite(extract(signal)).all()


def test_names_are_unique() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)


def test_a_batch_gives_the_same_numbers_as_its_signals_one_by_one() -> None:
    signals = [sine(7.0), sine(31.0, points=900), np.ones(3)]
    batch = extract_all(signals)
    assert all(np.array_equal(row, extract(signal)) for row, signal in zip(batch, signals, strict=True))
    assert extract_all([]).shape == (0, len(FEATURE_NAMES))


def test_extraction_leaves_the_signal_as_it_was() -> None:
    signal = sine(9.0)
    before = signal.copy()
    extract(signal)
    assert np.array_equal(signal, before)


def test_size_is_told_by_the_logarithms_alone() -> None:
    small, large = extract(sine(20.0)), extract(sine(20.0, height=1000.0))
    differing = {
        name for name, one, other in zip(FEATURE_NAMES, small, large, strict=True) if abs(one - other) > 1e-3
    }
    assert differing
    assert all(name.startswith("log_") for name in differing)
    assert feature(sine(20.0, height=1000.0), "log_peak") == pytest.approx(3.0)


def test_the_strongest_line_is_where_the_period_says() -> None:
    assert feature(sine(20.0), "whole_line_frequency") == pytest.approx(1 / 20, abs=1 / 400)
    assert feature(sine(8.0), "steady_line_frequency") == pytest.approx(1 / 8, abs=1 / 150)


def test_the_onset_is_found() -> None:
    signal = np.concatenate([np.zeros(120), np.full(180, 3.0)])
    assert feature(signal, "onset_at") == 119.0
    assert feature(signal, "onset_before") == 0.0
    assert feature(signal, "onset_mean_00") == pytest.approx(1.0)


def test_the_quantiles_are_those_of_numpy() -> None:
    signal = np.random.default_rng(1).normal(size=333)
    expected = np.quantile(signal / np.abs(signal).max(), 0.75)
    assert feature(signal, "unit_q75") == pytest.approx(expected, rel=1e-5)


def test_the_quantiles_of_steps_are_in_units_of_the_steady_level() -> None:
    signal = np.array([0.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 3.0, 4.0])
    assert feature(signal, "step_q100") == pytest.approx(1.0)
    assert feature(signal, "step_q50") == 0.0


@pytest.mark.parametrize("points", [8, 9, 300, 2049])
def test_segments_are_eight_equal_stretches(points: int) -> None:
    signal = np.random.default_rng(points).normal(size=points)
    segments = waveform(signal).segments * np.abs(signal).max()
    starts = [points * number // 8 for number in range(9)]
    stretches = [signal[start:stop] for start, stop in pairwise(starts)]
    assert segments[0] == pytest.approx([stretch.mean() for stretch in stretches])
    assert segments[1] == pytest.approx([stretch.std() for stretch in stretches])
    assert segments[2] == pytest.approx([stretch.min() for stretch in stretches])
    assert segments[3] == pytest.approx([stretch.max() for stretch in stretches])


def test_lags_are_those_of_the_sums_that_define_them() -> None:
    signal = np.random.default_rng(3).normal(size=50)
    centred = signal - signal.mean()
    expected = [(centred[lag:] * centred[:-lag]).sum() / (centred @ centred) for lag in (1, 5, 24)]
    got = [feature(signal, name) for name in ("lag_01", "lag_05", "lag_24")]
    assert got == pytest.approx(expected, rel=1e-5)


def test_a_constant_has_no_shape_whatever_rounding_leaves() -> None:
    signal = np.full(1000, 0.1) + 1e-15 * sine(7.0, points=1000)
    names = ("skewness", "kurtosis", "lag_01", "steady_lag_01", "whole_line_share", "ripple_q100")
    assert [feature(signal, name) for name in names] == pytest.approx([0.0] * len(names), abs=1e-2)


@pytest.mark.parametrize("points", [1, 7, 64, 2048, 2049])
def test_a_length_seen_before_gives_the_same_numbers(points: int) -> None:
    signal = np.random.default_rng(points).normal(size=points)
    assert np.array_equal(extract(signal), extract(signal))
