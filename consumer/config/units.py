"""Reads and writes times and sizes as people write them: `90s`, `5m`, `1.5h`; `500MiB`, `2G`.

The end of a setting's name gives its unit: `_s` is seconds, `_bytes` is bytes. A text without a unit is left to
the type of the setting, so a plain number keeps its meaning. Pure.
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
#: A number with a unit. More digits are certainly a mistake.
_FORM = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})\s*([A-Za-z]+)\s*")


def in_units(name: str, value: object) -> object:
    """Convert a text with a unit, for the setting `name`. Return every other value unchanged.

    Raises:
        ValueError: the unit is not one of this kind.
    """
    if isinstance(value, str) and name.endswith(("_s", "_bytes")) and (found := _FORM.fullmatch(value)):
        return seconds(value) if name.endswith("_s") else size(found[1], found[2])
    return value


def seconds(text: str) -> float:
    """Convert a time to seconds; a plain number means seconds.

    Raises:
        ValueError: the text is no time.
    """
    found = _FORM.fullmatch(text) or _FORM.fullmatch(f"{text}s")
    if found is None or found[2] not in SECONDS:
        raise ValueError(complaint("_s"))
    return float(found[1]) * SECONDS[found[2]]


def size(number: str, unit: str) -> int:
    """Convert a size to bytes.

    Raises:
        ValueError: there is no such unit.
    """
    known = unit.upper().removesuffix("B")
    if known not in BYTES:
        raise ValueError(complaint("_bytes"))
    return round(float(number) * BYTES[known])


def complaint(name: str) -> str | None:
    """Return what is wrong with a text that is no time or size; None if the setting is neither."""
    if name.endswith("_s"):
        return f"not a time: write {TIME_FORMS}"
    return f"not a size: write {SIZE_FORMS}" if name.endswith("_bytes") else None


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


def _shown_size(value: int) -> str:
    for unit in ("TI", "GI", "MI", "M", "KI"):
        if value % BYTES[unit] == 0:
            return f"{value // int(BYTES[unit])}{unit.replace('I', 'i')}B"
    return str(value)
