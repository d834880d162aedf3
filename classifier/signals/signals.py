"""Defines a signal: 1 to 100,000 finite numbers. This module checks every signal, from jobs and from files.

A sample may be any finite float64, because recordings of real machines exceed every assumed range.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

MAX_POINTS: Final = 100_000

Signal: TypeAlias = NDArray[np.float64]


class SignalError(ValueError):
    """The value is not a signal. The message names the fault and the position of the sample, from 0."""


def checked(values: object) -> Signal:
    """Convert a job's list of numbers to a signal. Booleans and texts are not numbers.

    Raises:
        SignalError: `values` is not a list, is empty or too long, or a sample is not a finite number.
    """
    if not isinstance(values, list):
        raise SignalError(f"signal must be a list of numbers, not {_json_type(values)}")
    _check_length(len(values))
    # Exact types: for isinstance, a bool is an int, but `true` is not a sample.
    if not set(map(type, values)) <= {int, float}:
        raise SignalError(_first_bad(values))
    try:
        signal = np.array(values, dtype=np.float64)
    except OverflowError:
        raise SignalError(_first_bad(values)) from None
    return checked_array(signal)


def checked_array(signal: Signal) -> Signal:
    """Check that the array is a signal, and return it.

    Raises:
        SignalError: as `checked`.
    """
    _check_length(signal.size)
    finite = np.isfinite(signal)
    if not finite.all():
        at = int(finite.argmin())
        raise SignalError(f"signal[{at}] is {json.dumps(float(signal[at]))}; every sample must be a finite number")
    return signal


def _check_length(points: int) -> None:
    if points == 0:
        raise SignalError("signal is empty; it needs 1 point at least")
    if points > MAX_POINTS:
        raise SignalError(f"signal has {points:,} points; the limit is {MAX_POINTS:,}: cut or resample it")


def _first_bad(values: Sequence[object]) -> str:
    for at, value in enumerate(values):
        if type(value) not in (int, float):
            return f"signal[{at}] is {_json_type(value)}; every sample must be a finite number"
        if type(value) is int and abs(value) > sys.float_info.max:
            return f"signal[{at}] is an integer too large; every sample must be a finite number"
    raise AssertionError("only called where there is a bad sample")


def _json_type(value: object) -> str:
    names = {
        bool: "a bool",
        str: "a text",
        list: "a list",
        dict: "an object",
        int: "a number",
        float: "a number",
    }
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")
