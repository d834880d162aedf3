"""Where half a character is in a result, for every way in which a program may write it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.runners.answer import lone_surrogate
from consumer.runners.output_parser import json_fault


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (rb'"\ud800"', r"output holds the lone surrogate \ud800"),
        (rb'{"a": [1, "x\uDC00y"]}', r'output["a"][1] holds the lone surrogate \udc00'),
        (rb'["\udc00\ud800"]', r"output[0] holds the lone surrogate \udc00"),
        (rb'["\ud83d\ude00", "\ude00"]', r"output[1] holds the lone surrogate \ude00"),
        (b'["\xed\xa0\x80"]', r"output[0] holds the lone surrogate \ud800"),
        (b'["\xed\xa0\xbd\xed\xb8\x80"]', r"output[0] holds the lone surrogate \ud83d"),
        (rb'{"a": {"\ud800": 1}}', r'output["a"] has the key "\ud800", which holds the lone surrogate \ud800'),
        (rb'[["\ud800"], "\ud801"]', r"output[0][0] holds the lone surrogate \ud800"),
        (b"[" * 500 + rb'"\ud800"' + b"]" * 500, "output[0][0][0]"),
    ],
)
def test_the_first_half_character_has_its_place(content: bytes, said: str) -> None:
    assert json_fault(content)
    place = lone_surrogate(content)
    assert place is not None
    assert place.startswith(said)
    assert len(place) < 300


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"1",
        b'"\xff"',
        rb'"\ud83d\ude00"',
        rb'"\\ud800"',
        b'["\xf0\x9f\x98\x80"]',
        b"[" * 100_000,
        b"9" * 5000,
    ],
)
def test_what_is_whole_or_no_json_at_all_has_none(content: bytes) -> None:
    assert lone_surrogate(content) is None


@given(st.recursive(st.text(st.characters()), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_it_is_found_exactly_where_the_parser_refuses(value: object) -> None:
    content = json.dumps(value).encode()
    assert (lone_surrogate(content) is None) == (json_fault(content) is None)
