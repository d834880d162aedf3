"""What RabbitMQ passes on and pamqp cannot decode becomes a value instead of an exception.

RabbitMQ does not look into properties: a timestamp in microseconds, an id in Latin-1 or a header of an unknown
type reaches us as it was sent. pamqp raises over it, aiormq drops the connection over that, and RabbitMQ delivers
the message again, for ever. `install` is called by who reads messages of strangers: the service's session and the
commands for dead letters. The client does not call it, since a library must not change its host process.

The other way round, what was decoded can be encoded again: a copy of a message keeps its headers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pamqp import decode, encode

#: Value and bytes consumed, the other way round: what each decoder of pamqp returns.
Decoded = tuple[int, Any]
Decoder = Callable[[bytes], Decoded]

#: Deeper than any header that means something (x-death has two levels), and far from Python's limit: pamqp takes
#: more of the stack for a level when it encodes than when it decodes.
MAX_LEVELS = 32

#: What pamqp's decoders raise over bytes from outside: text, dates, and types that are in no table.
_FAULTS = (ValueError, OverflowError, OSError, KeyError, IndexError, RecursionError, struct.error)


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Stands where a property's value would; `why` is for people."""

    why: str


def install() -> None:
    """Replace what raises. Doing it again changes nothing."""
    decode.METHODS["timestamp"] = _tolerant(decode.timestamp, lambda _: 8)
    decode.METHODS["shortstr"] = _tolerant(decode.short_str, lambda data: 1 + int.from_bytes(data[:1], "big"))
    # Only the whole table, not a table within: so one look at the headers tells whether all can be trusted.
    decode.METHODS["table"] = _tolerant(_shallow_table, lambda data: 4 + int.from_bytes(data[:4], "big"))
    encode.encode_table_value = _encode_table_value


def _tolerant(decoder: Decoder, size: Callable[[bytes], int]) -> Decoder:
    """Skip over what cannot be decoded: every type here says how long it is."""

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
    """Text that is no UTF-8 was decoded to bytes, which pamqp does not encode; and it halves every double."""
    if isinstance(value, bytes):
        return b"S" + struct.pack(">I", len(value)) + value
    if isinstance(value, float):
        return b"d" + struct.pack(">d", value)
    return _encode_known(value)
