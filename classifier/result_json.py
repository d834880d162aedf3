"""Formats a function's result as JSON, or raises an error that names the place and the cause.

Standard library only. `encoded` walks through the value once, converts each part that is not JSON yet
(json_types.py), and formats the whole with `json`. Lists and dicts of JSON's own values pass unchanged, so large
ones cost little. The error for a part names all containers around it, as in `output["a"][3] is NaN, ...`.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from typing import Any, Final

from classifier.json_types import NotJsonError, Pairs, converted

#: The most levels of lists and dicts. The consumer's parser reads 201, including the reply itself and a leaf.
MAX_DEPTH: Final = 199
#: The most digits of an integer. Python and many other readers refuse more.
MAX_DIGITS: Final = 4300
#: The types of values that are JSON unchanged. Subclasses are excluded, because they may format themselves.
_LEAVES: Final = frozenset({type(None), bool, int, float, str})
#: The most conversions of one value. Real values, such as a MaskedArray in an object array, need fewer.
_MOST_CONVERSIONS: Final = 10
#: The most characters that a message shows of a place or a key.
_PLACE_CHARACTERS: Final = 200
_KEY_CHARACTERS: Final = 60

# `_Walk` finds cycles itself, with their places.
_ENCODER: Final = json.JSONEncoder(allow_nan=False, check_circular=False)


def encoded(value: object) -> str:
    """Return the JSON text of `value`, on one line and in ASCII.

    Raises:
        ValueError: JSON cannot express a part: NaN, an infinity, a lone surrogate, a cycle, too many levels or
            digits, or two keys that become the same text.
        TypeError: JSON cannot express the type of a part.
    """
    try:
        return _written(_Walk().plain(value))
    except NotJsonError as fault:
        raise fault.kind(f"the output cannot be JSON: {place(fault.steps)} {fault.cause}") from fault.__cause__


def place(steps: Iterable[str | int]) -> str:
    """Format a place as in Python, `output["a"][3]`. `steps`: its keys and indexes, innermost first."""
    text = "output" + "".join(f"[{json.dumps(step)}]" for step in reversed(list(steps)))
    if len(text) <= _PLACE_CHARACTERS:
        return text
    return f"{text[: _PLACE_CHARACTERS // 2]}...{text[-_PLACE_CHARACTERS // 2 :]}"


class _Walk:
    """Walks once through a value. `_is_checking`: whether to check each leaf.

    Mutable state: `_open`, the ids of the containers around the current place.
    """

    def __init__(self, *, is_checking: bool = False) -> None:
        self._open: set[int] = set()
        self._is_checking = is_checking

    def plain(self, value: object) -> object:
        """Return the same value made of exact lists, dicts with text keys, and leaves."""
        found = _at_most_a_container(value)
        kind = type(found)
        if kind in _LEAVES:
            if self._is_checking and (fault := _leaf_fault(found)):
                raise NotJsonError(fault, ValueError)
            return found
        # The id of the author's own object, because a conversion makes a new object each time.
        if id(value) in self._open:
            raise NotJsonError(
                "contains itself (a circular reference); return a copy without the cycle", ValueError
            )
        if len(self._open) >= MAX_DEPTH:
            raise NotJsonError(f"is nested more than {MAX_DEPTH} levels deep; return a flatter value", ValueError)
        self._open.add(id(value))
        try:
            return self._list(found) if isinstance(found, list) else self._dict(found)
        finally:
            self._open.discard(id(value))

    def _list(self, items: list[object]) -> list[object]:
        if not self._is_checking and set(map(type, items)) <= _LEAVES:
            return items
        return [self._below(number, item) for number, item in enumerate(items)]

    def _dict(self, given: Any) -> dict[str, object]:  # noqa: ANN401 - a dict or Pairs
        if not self._is_checking and type(given) is dict and _is_plain(given):
            return given
        made: dict[str, object] = {}
        origins: dict[str, object] = {}
        for key, item in given.items():
            text = _key(key)
            if self._is_checking and (fault := _leaf_fault(text)):
                raise NotJsonError(f"has the key {_shown(text)}, which {fault}", ValueError)
            if text in origins:
                raise NotJsonError(
                    f"has two keys that become {_shown(text)}: {_shown(origins[text])} and {_shown(key)}; "
                    "rename one of them",
                    ValueError,
                )
            origins[text] = key
            made[text] = self._below(text, item)
        return made

    def _below(self, step: str | int, item: object) -> object:
        try:
            return self.plain(item)
        except NotJsonError as fault:
            fault.steps.append(step)
            raise


def _is_plain(given: dict[Any, object]) -> bool:
    """Return whether a dict has only text keys and leaves."""
    return set(map(type, given)) <= {str} and set(map(type, given.values())) <= _LEAVES


def _at_most_a_container(value: object) -> object:
    """Convert `value`, but not its elements, until it is a leaf, a list, a dict or Pairs."""
    found = value
    for _ in range(_MOST_CONVERSIONS):
        kind = type(found)
        if kind in _LEAVES or kind is list or kind is dict or kind is Pairs:
            return found
        found = converted(found)
    raise NotJsonError(f"is of type {type(value).__name__}, whose conversion does not end", TypeError)


def _key(key: object) -> str:
    """Return the text of a key. For types that `json` supports, it is the text that `json` would write."""
    if type(key) is str:
        return key
    try:
        leaf = _at_most_a_container(key)
    except NotJsonError as fault:
        raise NotJsonError(f"has the key {_shown(key)}, which {fault.cause}", fault.kind) from fault.__cause__
    match leaf:
        case str():
            return leaf
        case None | bool():
            return {None: "null", True: "true", False: "false"}[leaf]
        case int() | float():
            if unfit := _leaf_fault(leaf):
                raise NotJsonError(f"has a key that {unfit}", ValueError)
            return repr(leaf)
        case _:
            raise NotJsonError(
                f"has the key {_shown(key)} of type {type(key).__name__}; keys are text or numbers: "
                "convert it, for example with str(key)",
                TypeError,
            )


def _shown(key: object) -> str:
    try:
        text = repr(key)
    except ValueError:  # an integer of too many digits
        text = f"of type {type(key).__name__}"
    return text if len(text) <= _KEY_CHARACTERS else f"{text[:_KEY_CHARACTERS]}..."


def _written(tree: object) -> str:
    """Format a plain tree.

    Each leaf is checked only if `json` refused one, or might have written an invalid one.
    """
    try:
        text = _ENCODER.encode(tree)
    except ValueError as refused:
        _Walk(is_checking=True).plain(tree)
        raise NotJsonError(f"is refused by json: {refused}", ValueError) from refused
    # The surrogate may belong to a valid pair. User code may have raised Python's limit of digits.
    if "\\ud" in text or not 0 < sys.get_int_max_str_digits() <= MAX_DIGITS:
        _Walk(is_checking=True).plain(tree)
    return text


def _leaf_fault(leaf: object) -> str | None:
    """Describe the fault of a leaf, as a text that follows its place; None if it is valid."""
    if isinstance(leaf, float) and not math.isfinite(leaf):
        name = "NaN" if math.isnan(leaf) else "infinity" if leaf > 0 else "-infinity"
        return f"is {name}, which JSON does not have; replace NaN and infinities, for example with None"
    if isinstance(leaf, int) and not _is_short(leaf):
        return (
            f"is an integer of more than {MAX_DIGITS} digits, which most readers refuse; return it as text, hex(n)"
        )
    if isinstance(leaf, str) and (half := _lone_surrogate(leaf)):
        return (
            f"holds the lone surrogate {half}, half a character that no text can hold; "
            'remove it, for example with text.encode(errors="replace").decode()'
        )
    return None


def _is_short(number: int) -> bool:
    try:
        return len(str(abs(number))) <= MAX_DIGITS
    except ValueError:  # Python's own limit
        return False


def _lone_surrogate(text: str) -> str | None:
    """Return the escape of the first surrogate that is not part of a pair; None if there is none."""
    try:
        text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError as broken:
        return f"\\u{int.from_bytes(broken.object[broken.start : broken.start + 2], 'little'):04x}"
    return None
