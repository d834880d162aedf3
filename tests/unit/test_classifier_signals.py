"""What is a signal, and how a refusal reads."""

from __future__ import annotations

import math

import numpy as np
import pytest

from classifier.signals.signals import MAX_POINTS, SignalError, checked


@pytest.mark.parametrize("values", [[1], [0.5, -470.25], [1e300, -1e300], [10**300], [0] * MAX_POINTS])
def test_finite_numbers_are_a_signal(values: list[float]) -> None:
    signal = checked(values)
    assert signal.dtype == np.float64
    assert signal.tolist() == [float(value) for value in values]


def test_a_signal_with_nan_is_refused_with_its_position() -> None:
    with pytest.raises(SignalError, match=r"signal\[2\] is NaN; every sample must be a finite number"):
        checked([1.0, 2.0, math.nan, math.nan])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (None, "must be a list of numbers, not null"),
        ("1,2", "must be a list of numbers, not a text"),
        ({"0": 1}, "must be a list of numbers, not an object"),
        (7, "must be a list of numbers, not a number"),
        ([], "is empty"),
        ([0.0] * (MAX_POINTS + 1), "100,001 points; the limit is 100,000"),
        ([1, True], r"\[1\] is a bool"),
        ([1, "2"], r"\[1\] is a text"),
        ([1, 2, None], r"\[2\] is null"),
        ([[1, 2], [3, 4]], r"\[0\] is a list"),
        ([0, -math.inf], r"\[1\] is -Infinity"),
        ([0, 0, math.inf], r"\[2\] is Infinity"),
        ([0, 10**400], r"\[1\] is an integer too large"),
    ],
)
def test_anything_else_is_refused_with_the_reason(values: object, reason: str) -> None:
    with pytest.raises(SignalError, match=reason):
        checked(values)
