"""Half a character in a result: where it is, for JSON that is well-formed and that no strict parser reads.

JSON may escape one half of a surrogate pair, as Python, Java and JavaScript do for text that they hold it in; some
programs write its bytes. Neither is text, so neither can go into a reply. Searched only after a parser refused.
"""

from __future__ import annotations

import json
import re
from typing import TypeAlias

#: The way to a value: None for the whole, else the way to its container, and its key or number there.
Way: TypeAlias = "tuple[Way, str | int] | None"

_SURROGATE = re.compile("[\ud800-\udfff]")
_PLACE_CHARACTERS = 200


def lone_surrogate(content: bytes) -> str | None:
    """Say which value or key of the JSON text `content` holds half a character; None if none does."""
    try:
        whole: object = json.loads(content.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    waiting: list[tuple[object, Way]] = [(whole, None)]  # no recursion: it may be nested as deep as Python reads
    while waiting:
        value, way = waiting.pop()
        if isinstance(value, str) and (half := _SURROGATE.search(value)):
            return f"{_place(way)} holds the lone surrogate {_escaped(half)}"
        if isinstance(value, dict):
            for key in value:
                if half := _SURROGATE.search(key):
                    shown = json.dumps(key)[:_PLACE_CHARACTERS]
                    return f"{_place(way)} has the key {shown}, which holds the lone surrogate {_escaped(half)}"
            waiting += [(inner, (way, key)) for key, inner in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(inner, (way, number)) for number, inner in reversed(list(enumerate(value)))]
    return None


def _escaped(half: re.Match[str]) -> str:
    return f"\\u{ord(half[0]):04x}"


def _place(way: Way) -> str:
    steps = []
    while way:
        way, step = way
        steps.append(f"[{json.dumps(step)}]")
    text = "output" + "".join(reversed(steps))
    return text if len(text) <= _PLACE_CHARACTERS else f"{text[:_PLACE_CHARACTERS]}..."
