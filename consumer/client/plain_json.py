"""Converts callers' values to plain JSON values: numbers, texts, lists and objects of them.

This module recognises arrays of numpy, pandas and similar libraries by their methods, because producers need none
of these libraries. A value that JSON cannot express is refused, and the message names its place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from consumer.client.exceptions import UnsendableJobError

#: The depth limit of the service's JSON reader.
MAX_DEPTH = 200
#: Python does not format longer integers as text.
MAX_INTEGER_BITS = 14_000
#: Smaller integers are never too long.
SURE_INTEGER = 2**64
#: numpy's kinds whose `tolist` loses units, names or the encoding of text.
LOSSY_KINDS = {"M": "dates", "m": "durations", "V": "records", "S": "bytes"}


def samples(signal: object) -> list[Any]:
    """Return the samples of a signal, in their order.

    Raises:
        UnsendableJobError: it is not a signal, or a sample is not a finite number.
    """
    has_samples = isinstance(signal, Iterable) or hasattr(signal, "tolist")
    if isinstance(signal, str | bytes | bytearray | Mapping | AbstractSet) or not has_samples:
        kind = type(signal).__name__
        raise UnsendableJobError(
            f"a signal is a list or an array of numbers, not {kind}; for a job pass a mapping"
        )
    found = plain(signal, "signal")
    if not isinstance(found, list):  # an array without a dimension
        raise UnsendableJobError("a signal is a list or an array of numbers, not one number; pass [number]")
    if _is_numbers(found):
        return found
    for index, sample in enumerate(found):
        if isinstance(sample, str | bool | dict) or sample is None:
            raise UnsendableJobError(f"signal[{index}] is {sample!r:.40}, not a number; pass numbers only")
    return found


def plain(value: object, place: str, within: tuple[int, ...] = ()) -> Any:  # noqa: ANN401 - JSON
    """Convert a value to plain JSON values.

    Args:
        value: any value.
        place: its place in the job, for the message: `job["a"][3]`.
        within: the ids of all containers that hold it.

    Raises:
        UnsendableJobError
    """
    if value is None or isinstance(value, bool | str | int | float):
        return _scalar(value, place)
    if id(value) in within:
        raise UnsendableJobError(f"{place} contains itself, which JSON cannot express; remove the cycle")
    if len(within) >= MAX_DEPTH:
        raise UnsendableJobError(
            f"{place[:60]}... is nested deeper than {MAX_DEPTH} levels, which the service does not read"
        )
    within = (*within, id(value))
    try:
        if isinstance(value, Mapping):
            return _object(value, place, within)
        return _many(value, place, within)
    except UnsendableJobError:
        raise
    except Exception as error:  # an exception of a caller's own iterator, mapping or array fails only that job
        raise UnsendableJobError(f"{place} cannot be read: {type(error).__name__}: {error}") from error


def _scalar(value: object, place: str) -> object:
    """Check a scalar, and convert subclasses, such as numpy's types and enumerations, to the plain value."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            fault = f"{place} has half a character (a lone surrogate) at {error.start}"
            raise UnsendableJobError(f"{fault}; decode the text with errors='replace'") from None
        return str.__str__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UnsendableJobError(
                f"{place} is {float(value)}, which JSON cannot express; replace it by a number or null"
            )
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > MAX_INTEGER_BITS:
            raise UnsendableJobError(f"{place} is a whole number of {value.bit_length()} bits; send it as a float")
        return int(value)
    return value


def _object(value: Mapping[Any, Any], place: str, within: tuple[int, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, inner in value.items():
        name = _key(key, place)
        if name in found:
            raise UnsendableJobError(f"{place} has two keys that are {name!r} in JSON; keep one")
        found[name] = plain(inner, f"{place}[{name!r:.40}]", within)
    return found


def _key(key: object, place: str) -> str:
    """Format a key as json.dumps does, and keys of numpy's types like Python's."""
    found = key.tolist() if hasattr(key, "tolist") else key
    if found is None or isinstance(found, bool):
        return {None: "null", True: "true", False: "false"}[found]
    if isinstance(found, str | int | float):
        return str(_scalar(found, f"a key of {place}"))
    raise UnsendableJobError(
        f"{place} has the key {key!r:.60}, a {type(key).__name__}; JSON's keys are texts, use str"
    )


def _many(value: object, place: str, within: tuple[int, ...]) -> Any:  # noqa: ANN401 - JSON
    kind = type(value).__name__
    if isinstance(value, bytes | bytearray) or (isinstance(value, memoryview) and value.format in ("B", "c")):
        raise UnsendableJobError(f"{place} is {kind}, which JSON cannot express; decode them, or send list(...)")
    if isinstance(value, AbstractSet):
        raise UnsendableJobError(f"{place} is a {kind}, which has no order; send sorted(...)")
    if hasattr(value, "columns"):
        raise UnsendableJobError(f"{place} is a {kind}; send its rows, one job each, or frame.to_numpy().tolist()")
    dtype_kind = getattr(getattr(value, "dtype", None), "kind", "")
    if dtype_kind in LOSSY_KINDS:
        raise UnsendableJobError(f"{place} has {LOSSY_KINDS[dtype_kind]}; convert them to numbers or texts")
    if hasattr(value, "tolist"):
        is_own_value = isinstance(found := value.tolist(), type(value))  # true for numpy's long double
        return plain(float(found) if is_own_value else found, place, within)
    if not isinstance(value, Iterable):
        raise UnsendableJobError(
            f"{place} is a {kind}, which JSON cannot express; send a number, text, list or dict"
        )
    items = list(value)
    if _is_numbers(items):
        return items
    return [plain(item, f"{place}[{index}]", within) for index, item in enumerate(items)]


def _is_numbers(items: list[Any]) -> bool:
    """Return whether all are Python's own numbers, as in most signals. A check of each costs ten times as much."""
    kinds = {*map(type, items)}
    if kinds == {int}:
        return all(-SURE_INTEGER < end < SURE_INTEGER for end in (min(items), max(items)))
    return kinds == {float} and all(map(math.isfinite, items))
