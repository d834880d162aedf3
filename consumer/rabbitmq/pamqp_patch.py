"""Makes pamqp decode invalid properties to `Undecodable` values, instead of raising exceptions.

RabbitMQ does not check properties, so it delivers a timestamp in microseconds, an id in Latin-1 or a header of an
unknown type as it was sent. pamqp raises an exception, aiormq then drops the connection, and RabbitMQ redelivers
the message for ever. The service's session and the commands for dead letters call `install`, because they read
messages of any producer. The client does not: a library must not change its host process.

pamqp can then also encode every decoded value, so that a copy of a message keeps its headers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pamqp import decode, encode

#: The result of each pamqp decoder: the number of bytes consumed, and the value.
Decoded = tuple[int, Any]
Decoder = Callable[[bytes], Decoded]

#: The most levels of the headers. No useful header has more (x-death has two). Python's recursion limit allows far
#: more, even for pamqp's encoder, which needs more stack per level than its decoder.
MAX_LEVELS = 32

#: The exceptions that pamqp's decoders raise for invalid texts, dates and types.
_FAULTS = (ValueError, OverflowError, OSError, KeyError, IndexError, RecursionError, struct.error)


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Replaces the value of a property that cannot be decoded. `why`: the reason in words."""

    why: str


def install() -> None:
    """Replace the decoders that raise. A second call changes nothing."""
    decode.METHODS["timestamp"] = _tolerant(decode.timestamp, lambda _: 8)
    decode.METHODS["shortstr"] = _tolerant(decode.short_str, lambda data: 1 + int.from_bytes(data[:1], "big"))
    # Only for the whole table: then the headers are either all valid, or one `Undecodable`.
    decode.METHODS["table"] = _tolerant(_shallow_table, lambda data: 4 + int.from_bytes(data[:4], "big"))
    encode.encode_table_value = _encode_table_value


def _tolerant(decoder: Decoder, size: Callable[[bytes], int]) -> Decoder:
    """Make a decoder that skips a value that it cannot decode; `size` reads the length of the value."""

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
    """Encode bytes (text that is not UTF-8), which pamqp refuses, and doubles, which pamqp shortens to floats."""
    if isinstance(value, bytes):
        return b"S" + struct.pack(">I", len(value)) + value
    if isinstance(value, float):
        return b"d" + struct.pack(">d", value)
    return _encode_known(value)
