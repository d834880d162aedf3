"""Makes property values that pamqp cannot decode into values instead of exceptions.

RabbitMQ does not check properties, so a timestamp in microseconds, an id in Latin-1 or a header of an unknown type
arrives as it was sent. pamqp raises an exception, aiormq then drops the connection, and RabbitMQ redelivers the
message for ever. connection.py calls `install` once, before the first connection.

Decoded values can also be encoded again, so a copy of a message keeps its headers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pamqp import decode, encode

#: What each decoder of pamqp returns: the number of bytes consumed, and the value.
Decoded = tuple[int, Any]
Decoder = Callable[[bytes], Decoded]

#: Deeper than any useful header (x-death has two levels), and far from Python's recursion limit: pamqp needs
#: more of the stack for a level when it encodes than when it decodes.
MAX_LEVELS = 32

#: What pamqp's decoders raise for bytes from outside: invalid text, dates, and unknown types.
_FAULTS = (ValueError, OverflowError, OSError, KeyError, IndexError, RecursionError, struct.error)


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Replaces the value of a property; `why` is for people."""

    why: str


def install() -> None:
    """Replace the decoders that raise. A second call changes nothing."""
    decode.METHODS["timestamp"] = _tolerant(decode.timestamp, lambda _: 8)
    decode.METHODS["shortstr"] = _tolerant(decode.short_str, lambda data: 1 + int.from_bytes(data[:1], "big"))
    # Only the whole table, not a nested one: so one look at the headers shows whether all can be trusted.
    decode.METHODS["table"] = _tolerant(_shallow_table, lambda data: 4 + int.from_bytes(data[:4], "big"))
    encode.encode_table_value = _encode_table_value


def _tolerant(decoder: Decoder, size: Callable[[bytes], int]) -> Decoder:
    """Skip a value that cannot be decoded: every type here states its length."""

    def decode_or_mark(data: bytes) -> Decoded:
        try:
            return decoder(data)
        except _FAULTS as error:
            return size(data), Undecodable(str(error) or type(error).__name__)

    return decode_or_mark


def _shallow_table(data: bytes) -> Decoded:
    size, table = decode.field_table(data)
    if _is_deeper(table, MAX_LEVELS):
        raise ValueError(f"nested more than {MAX_LEVELS} levels deep")
    return size, table


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


_encode_known = encode.encode_table_value


def _encode_table_value(value: Any) -> bytes:  # noqa: ANN401 - a header's value
    """Encode two values that pamqp cannot: bytes, from text that is not UTF-8, and doubles, which it halves."""
    if isinstance(value, bytes):
        return b"S" + struct.pack(">I", len(value)) + value
    if isinstance(value, float):
        return b"d" + struct.pack(">d", value)
    return _encode_known(value)
