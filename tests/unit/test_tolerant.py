"""What pamqp refuses to decode becomes a value, exactly as long as it was; what it decodes stays as it is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import decode, encode, frame
from pamqp.exceptions import PAMQPException
from support.rabbitmq.raw_producer import short, table

from consumer.rabbitmq import pamqp_patch
from consumer.rabbitmq.pamqp_patch import MAX_LEVELS, Undecodable

AFTER = b"what follows"


def nested(levels: int) -> bytes:
    """A table of so many levels, which is the first."""
    value = b"V"
    for _ in range(levels - 1):
        value = b"A" + struct.pack(">I", len(value)) + value
    return table(b"k", value[:1], value[1:])


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    methods, encoder = dict(decode.METHODS), encode.encode_table_value
    pamqp_patch.install()
    pamqp_patch.install()
    yield
    decode.METHODS.update(methods)
    encode.encode_table_value = encoder


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("timestamp", struct.pack(">Q", 1_700_000_000_000_000)),
        ("timestamp", struct.pack(">q", -1)),
        ("shortstr", short(b"\xff")),
        ("table", table(b"\xff", b"V", b"")),
        ("table", table(b"k", b"z", b"")),
        ("table", table(b"k", b"T", struct.pack(">Q", 2**63))),
        ("table", table(b"k", b"F", table(b"\xff", b"V", b""))),
        ("table", nested(MAX_LEVELS + 1)),
        ("table", nested(5000)),
    ],
)
def test_what_cannot_be_decoded_is_marked_and_skipped(kind: str, data: bytes) -> None:
    consumed, value = cast("tuple[int, object]", decode.by_type(data + AFTER, kind))
    assert consumed == len(data)
    assert isinstance(value, Undecodable)
    assert value.why


def test_what_can_be_decoded_is() -> None:
    assert decode.by_type(short(b"abc") + AFTER, "shortstr") == (4, "abc")
    assert decode.by_type(struct.pack(">Q", 0) + AFTER, "timestamp") == (8, datetime(1970, 1, 1, tzinfo=UTC))
    assert decode.by_type(table(b"k", b"t", b"\1") + AFTER, "table") == (8, {"k": True})


@given(st.binary(max_size=60))
def test_no_bytes_in_a_table_raise(content: bytes) -> None:
    consumed, _ = decode.by_type(struct.pack(">I", len(content)) + content + AFTER, "table")
    assert consumed == 4 + len(content)


@given(flags=st.integers(0, 2**16 - 1), content=st.binary(max_size=60))
def test_a_header_of_any_bytes_is_read_or_refused_as_the_client_library_expects(
    flags: int, content: bytes
) -> None:
    payload = struct.pack(">HHQH", 60, 0, 0, flags) + content
    raw = struct.pack(">BHI", 2, 1, len(payload)) + payload + b"\xce"
    try:
        consumed, _, _ = frame.unmarshal(raw)
    except PAMQPException:
        return
    assert consumed == len(raw)


def test_a_short_string_without_a_byte_is_marked() -> None:
    consumed, value = cast("tuple[int, object]", decode.by_type(b"", "shortstr"))
    assert consumed == 1
    assert isinstance(value, Undecodable)


def test_the_deepest_table_that_is_decoded_can_be_encoded() -> None:
    encoded = nested(MAX_LEVELS)
    assert encode.field_table(decode.by_type(encoded, "table")[1]) == encoded  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", [b"\xff", 0.1, 1e300, -1.5, "text", True, None, 2**62, [0.1, b"\xff"], {"a": 0.1}]
)
def test_what_was_decoded_is_encoded_as_it_was(value: Any) -> None:  # noqa: ANN401 - a header's value
    encoded = encode.field_table({"k": value})
    assert decode.field_table(encoded) == (len(encoded), {"k": value})
