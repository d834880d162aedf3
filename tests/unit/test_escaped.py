"""Foreign text in the log and on a terminal: it stays on its line, and a line stays short."""

from __future__ import annotations

import io
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.escaping import escaped, escaped_lines
from consumer.telemetry.log_format import MAX_CHARACTERS, TEXT, SafeFormatter

#: What ends a line for one program or another, moves a cursor, or turns text around.
DANGEROUS = [
    *(chr(number) for number in (*range(9), *range(10, 32), *range(127, 160))),
    *"\u2028\u2029\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\ud800\U000e0001",
]


def logged(message: str, *arguments: object, error: BaseException | None = None) -> str:
    """What a log record looks like in the service's log."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(SafeFormatter(TEXT))
    record = logging.LogRecord("test", logging.INFO, __file__, 1, message, arguments, None)
    if error:
        record.exc_info = (type(error), error, error.__traceback__)
    handler.emit(record)
    return out.getvalue()


@pytest.mark.parametrize("character", DANGEROUS, ids=lambda character: f"U+{ord(character):04X}")
def test_what_could_forge_a_record_is_escaped(character: str) -> None:
    shown = logged("job %s: %s", "id", f"good{character}2026-01-01 00:00:00,000 INFO    forged")
    assert character not in shown.removesuffix("\n")
    assert shown.count("\n") == 1
    assert "forged" in shown


@given(text=st.text())
def test_any_text_is_one_line_and_printable(text: str) -> None:
    assert escaped(text, 100).replace("\t", "").isprintable()
    assert len(escaped(text, 100)) <= 150


@given(text=st.text(st.characters(categories=["Cc", "Cf", "Cs", "L", "Z"])), other=st.text())
def test_any_record_is_one_line_that_begins_with_its_time(text: str, other: str) -> None:
    shown = logged("job %s: %s", text, other).removesuffix("\n")
    assert shown.replace("\t", "").isprintable()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d INFO    job ", shown)
    shown.encode()


def test_letters_of_all_languages_stay_as_they_are() -> None:
    text = "naïve Größe \t 测试 тест \U0001f600"
    assert escaped(text, 100) == text


def test_a_long_text_is_cut_and_says_so() -> None:
    assert escaped("x" * 11, 10) == "xxxxxxxxxx... (11 characters)"
    assert escaped("\x1b" * 10, 10) == "\\x1b\\x1b\\x... (10 characters)"
    shown = logged("%s", "x" * 2**20)
    assert len(shown) < MAX_CHARACTERS + 100
    assert "(1048576 characters)" in shown


def test_lines_of_our_own_text_stay_lines() -> None:
    assert escaped_lines("first\nsecond\x1b[2J\r", 100) == ["first", "second\\x1b[2J\\r"]


def test_a_traceback_is_indented_so_that_what_it_quotes_begins_no_record() -> None:
    try:
        raise ValueError("bad\n2026-01-01 00:00:00,000 INFO    forged\x1b[2J")  # noqa: TRY301 - has a traceback then
    except ValueError as error:
        lines = logged("a bug", error=error).splitlines()
    assert re.match(r"\d{4}-\d\d-\d\d .* a bug$", lines[0])
    assert all(line.startswith("    ") and line.isprintable() for line in lines[1:])
    assert "forged" in lines[-1]
