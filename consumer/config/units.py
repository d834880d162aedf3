"""Reads and writes numbers, times and sizes as people write them: `90s`, `5m`, `1.5h`; `500MiB`, `2G`.

The one reader of numbers, for settings and options. The end of a setting's name gives its unit: `_s` is seconds,
`_bytes` is bytes. A number has decimal digits only: no exponent, no underscore, no `nan`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

SECONDS: Mapping[str, float] = MappingProxyType({"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400})
#: As in Kubernetes and the SI: G is a thousand million bytes, Gi is 1024 MiB. A final B changes nothing.
BYTES: Mapping[str, float] = MappingProxyType(
    {
        "": 1,
        **{letter: 1000**power for power, letter in enumerate("KMGT", start=1)},
        **{f"{letter}I": 1024**power for power, letter in enumerate("KMGT", start=1)},
    }
)
TIME_FORMS = "seconds, or a number with ms, s, m, h or d: 90, 5m, 1.5h"
SIZE_FORMS = "bytes, or a number with K, M, G or T (1000s) or KiB, MiB, GiB or TiB (1024s): 2G, 500MiB"
#: A number, perhaps with a unit. More digits are certainly a mistake, and Python refuses thousands of digits.
_FORM = re.compile(r"\s*([+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40}))\s*([A-Za-z]*)\s*")
_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,40}\s*")


def in_units(name: str, text: str) -> float | int:
    """Convert a text to a number, for the setting `name`, which determines the units.

    Raises:
        ValueError: the text is no such number; the message says what to write.
    """
    if name.endswith("_s"):
        return seconds(text)
    return size(text) if name.endswith("_bytes") else whole(text)


def seconds(text: str) -> float:
    """Convert a time to seconds; a plain number means seconds.

    Raises:
        ValueError: the text is no time.
    """
    found = _FORM.fullmatch(text)
    unit = found[2] or "s" if found else ""
    if found is None or unit not in SECONDS:
        raise ValueError(f"not a time: write {TIME_FORMS}")
    return float(found[1]) * SECONDS[unit]


def size(text: str) -> int:
    """Convert a size to bytes; a plain number is one of bytes.

    Raises:
        ValueError: the text is no size, or of a part of a byte.
    """
    found = _FORM.fullmatch(text)
    unit = found[2].upper().removesuffix("B") if found else ""
    if found is None or unit not in BYTES or ("." in found[1] and not unit):
        raise ValueError(f"not a size: write {SIZE_FORMS}")
    number = float(found[1]) if "." in found[1] else int(found[1])
    return round(number * BYTES[unit])


def whole(text: str) -> int:
    """Convert a whole number.

    Raises:
        ValueError: the text is none.
    """
    if not _WHOLE.fullmatch(text):
        raise ValueError("not a whole number")
    return int(text)


def shown(name: str, value: object) -> str:
    """Write a setting's value for people: with the unit, if the name has one and no digit is lost."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) and value and name.endswith("_s"):
        unit = next((unit for unit in "dhm" if value % SECONDS[unit] == 0), "s" if value >= 1 else "ms")
        return f"{value / SECONDS[unit]:.15g}{unit}"
    if isinstance(value, int) and value and name.endswith("_bytes"):
        return _shown_size(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def limit(size_bytes: int) -> str:
    """Write a size for a sentence: `2GiB`, and with the word `bytes` if no unit fits."""
    text = _shown_size(size_bytes)
    return f"{text} bytes" if text.isdecimal() else text


def _shown_size(value: int) -> str:
    for unit in ("TI", "GI", "MI", "T", "G", "M", "KI"):
        if value and value % BYTES[unit] == 0:
            return f"{value // int(BYTES[unit])}{unit.replace('I', 'i')}B"
    return str(value)
