"""Numbers on a command line: each option says what it expects, and refuses everything else in those words.

For argparse's `type`, which shows the name of a function where one raises a plain ValueError. A number with a
fraction is never rounded, and nothing is without a bound: what a person cannot mean is a slip of the finger.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable

#: Longest time that a command waits or repeats, in seconds: a year.
MAX_SECONDS = 31_536_000
#: As many digits as a number that anybody types; Python itself refuses to read some thousands.
_MAX_CHARACTERS = 40
_SHOWN_CHARACTERS = 60
_WHOLE = re.compile(r"[+-]?[0-9]+")
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def whole(least: int, most: int) -> Callable[[str], int]:
    """Make a type for whole numbers in a range, both ends included."""

    def read(text: str) -> int:
        if is_written_as(_WHOLE, text) and least <= (value := int(text)) <= most:
            return value
        raise refusal(text, f"a whole number from {least} to {most}")

    return read


def decimal(least: float, most: float, unit: str) -> Callable[[str], float]:
    """Make a type for numbers in a range, both ends included; `unit` is named in the refusal."""

    def read(text: str) -> float:
        if is_written_as(DECIMAL, text) and math.isfinite(value := float(text)) and least <= value <= most:
            return value
        raise refusal(text, f"a number of {unit} from {least:g} to {most:.12g}")

    return read


def is_written_as(form: re.Pattern[str], text: str) -> bool:
    """Whether a text is a number in plain digits, of a length that somebody may have meant."""
    return len(text) <= _MAX_CHARACTERS and form.fullmatch(text) is not None


def refusal(text: str, expected: str) -> argparse.ArgumentTypeError:
    """Make the error that names the text and what is expected in its place."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return argparse.ArgumentTypeError(f"{shown!r} is not {expected}")
