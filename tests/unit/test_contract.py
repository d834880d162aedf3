"""The classifier contract, byte by byte: what a line is, where lines end, and what is never held."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.runners.output_parser import ContractLine, LineKind, LineParser, json_fault, parse, printable

PIECES = (b"LOG:", b"OUTPUT:", b"ERROR:", b"\n", b"\r\n", b" ", b"{}", b"\xff", b"\x00", b"text")
STREAMS = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=20)), max_size=30)


def read(*chunks: bytes, line: int = 100, total: int = 1000) -> tuple[list[ContractLine], str | None]:
    """Feed all chunks, finish; return the lines and the excess."""
    parser = LineParser(max_line_bytes=line, max_total_bytes=total)
    lines = [found for chunk in chunks for found in parser.feed(chunk)]
    last = parser.finish()
    return [*lines, *([last] if last else [])], parser.excess


@pytest.mark.parametrize(
    ("line", "kind", "content"),
    [
        (b"LOG: text", LineKind.LOG, b"text"),
        (b"LOG:text", LineKind.LOG, b"text"),
        (b"LOG:", LineKind.LOG, b""),
        (b'OUTPUT: {"a": 1}', LineKind.OUTPUT, b'{"a": 1}'),
        (b"OUTPUT: 1\r", LineKind.OUTPUT, b"1"),
        (b"ERROR: it broke", LineKind.ERROR, b"it broke"),
        (b"ERROR:\t it broke \t", LineKind.ERROR, b"it broke"),
        (b"", LineKind.OTHER, b""),
        (b"anything else", LineKind.OTHER, b"anything else"),
        (b" OUTPUT: 1", LineKind.OTHER, b"OUTPUT: 1"),
        (b"output: 1", LineKind.OTHER, b"output: 1"),
        (b"OUTPUT : 1", LineKind.OTHER, b"OUTPUT : 1"),
        (b"OUTPUT 1", LineKind.OTHER, b"OUTPUT 1"),
        (b"\xef\xbb\xbfOUTPUT: 1", LineKind.OTHER, b"\xef\xbb\xbfOUTPUT: 1"),
        (b"LOG: ERROR: not mine", LineKind.LOG, b"ERROR: not mine"),
        (b"OUTPUT: ERROR: 1", LineKind.OUTPUT, b"ERROR: 1"),
    ],
)
def test_a_prefix_counts_at_the_start_of_a_line_only(line: bytes, kind: LineKind, content: bytes) -> None:
    assert parse(line) == ContractLine(kind, content)


@pytest.mark.parametrize(
    ("kind", "answers"), [(LineKind.LOG, 0), (LineKind.OUTPUT, 1), (LineKind.ERROR, 1), (LineKind.OTHER, 0)]
)
def test_only_output_and_error_answer(kind: LineKind, answers: int) -> None:
    assert kind.answers == bool(answers)


def test_a_carriage_return_alone_ends_no_line() -> None:
    assert read(b"LOG: 10%\rOUTPUT: 1\n") == ([ContractLine(LineKind.LOG, b"10%\rOUTPUT: 1")], None)


def test_the_last_line_counts_without_its_newline() -> None:
    assert read(b"LOG: a\nOUTPUT: 1") == (
        [ContractLine(LineKind.LOG, b"a"), ContractLine(LineKind.OUTPUT, b"1")],
        None,
    )


def test_an_unfinished_line_is_told_once() -> None:
    parser = LineParser(max_line_bytes=10, max_total_bytes=10)
    assert parser.feed(b"OUTPUT: 1") == []
    assert parser.finish() == ContractLine(LineKind.OUTPUT, b"1")
    assert parser.finish() is None


@pytest.mark.parametrize(("length", "fits"), [(9, True), (10, True), (11, False)])
def test_the_newline_is_not_counted_in_a_lines_limit(length: int, *, fits: bool) -> None:
    lines, excess = read(b"x" * length + b"\n", line=10)
    assert len(lines) == fits
    assert excess == (None if fits else "a line of more than 10 bytes on stdout (max_line_bytes)")


@pytest.mark.parametrize(("length", "fits"), [(10, True), (11, False)])
def test_an_unfinished_line_is_limited_too(length: int, *, fits: bool) -> None:
    lines, excess = read(*[b"x"] * length, line=10)
    assert len(lines) == fits
    assert (excess is None) == fits


@pytest.mark.parametrize(("length", "fits"), [(10, True), (11, False)])
def test_all_of_stdout_is_limited_with_its_newlines(length: int, *, fits: bool) -> None:
    lines, excess = read(b"a\n" * (length // 2) + b"\n" * (length % 2), total=10)
    assert len(lines) == 5
    assert excess == (None if fits else "more than 10 bytes on stdout (max_stdout_bytes)")


def test_lines_before_the_excess_count_and_lines_after_it_do_not() -> None:
    lines, excess = read(b"OUTPUT: 1\n" + b"x" * 101 + b"\nERROR: 2\n", b"ERROR: 3\n")
    assert lines == [ContractLine(LineKind.OUTPUT, b"1")]
    assert excess is not None


@given(STREAMS, st.integers(1, 40), st.integers(1, 120))
def test_any_chunks_give_the_same_lines_as_the_whole(chunks: list[bytes], line: int, total: int) -> None:
    assert read(*chunks, line=line, total=total) == read(b"".join(chunks), line=line, total=total)


@given(STREAMS)
def test_within_the_limits_the_lines_are_those_of_the_whole_text(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    *ended, rest = whole.split(b"\n")
    expected = [parse(line) for line in (*ended, rest) if line]
    assert read(*chunks, line=1000, total=2000) == (expected, None)


@given(STREAMS, st.integers(1, 40), st.integers(1, 120))
def test_never_more_than_one_lines_cap_is_held(chunks: list[bytes], line: int, total: int) -> None:
    parser = LineParser(max_line_bytes=line, max_total_bytes=total)
    for chunk in chunks:
        for found in parser.feed(chunk):
            assert len(found.content) <= line
        assert len(parser._unfinished) <= min(line, total)  # noqa: SLF001 - the promise is about what is held


@pytest.mark.parametrize("good", [b"1", b"null", b'""', b"[]", b'{"a": [1.5e3, "\xc3\xa9"]}', b' {"a":1}\r'])
def test_json_has_no_fault(good: bytes) -> None:
    assert json_fault(good) is None


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"NaN",
        b"[Infinity]",
        b'{"a": -Infinity}',
        b"{'a': 1}",
        b"{",
        b"1 2",
        b"{}{}",
        b'"\xff"',
        b"None",
        b"01",
    ],
)
def test_what_is_not_json_has_a_fault_in_words(bad: bytes) -> None:
    assert json_fault(bad)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=9))
def test_what_pythons_json_writes_is_json(value: object) -> None:
    assert json_fault(json.dumps(value).encode()) is None


@given(st.floats())
def test_every_finite_number_is_json_and_no_other_is(number: float) -> None:
    assert (json_fault(json.dumps([number]).encode()) is None) == math.isfinite(number)


@given(st.binary(max_size=200))
def test_printable_text_has_no_control_character(content: bytes) -> None:
    text = printable(content)
    assert all(character.isprintable() or character == "\t" for character in text)
    text.encode()  # no lone surrogates: a log file or a reply must take it


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"caf\xc3\xa9\t1", "café\t1"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"a\nCRITICAL forged", r"a\nCRITICAL forged"),
        (b"\x1b[2J", r"\x1b[2J"),
        ("\u202egpj".encode(), r"\u202egpj"),
    ],
)
def test_what_could_forge_a_log_record_is_escaped(content: bytes, text: str) -> None:
    assert printable(content) == text
    assert ContractLine(LineKind.LOG, content).text == text


def test_a_long_text_is_cut_and_says_so() -> None:
    assert printable(b"x" * 50, limit=50) == "x" * 50
    assert printable(b"x" * 51, limit=50) == "x" * 50 + "... (51 bytes)"
    assert len(printable(b"\xff" * 10_000_000)) < math.ceil(8192 * 1.01)


@pytest.mark.parametrize(
    ("line", "quoted"),
    [
        (b"ERROR:root:boom", '"ERROR:root:boom"'),
        (b"ERROR:   boom", '"ERROR: boom"'),
        (b"noise", '"noise"'),
        (b"50 %OUTPUT: 1", '"50 %OUTPUT: 1"'),
        (b"\x1b[2J\xff", r'"\x1b[2J\xff"'),
        (b"x" * 1000, '"' + "x" * 160 + '..."'),
        (b"\r50 %" * 1000 + b"OUTPUT: 1", '"...' + r"\r50 %" * 8 + 'OUTPUT: 1"'),
        (b"OUTPUT: " + b"1" * 1000, '"OUTPUT: ' + "1" * 152 + '..."'),
    ],
)
def test_a_line_is_quoted_by_the_part_that_tells_most(line: bytes, quoted: str) -> None:
    assert parse(line).quoted == quoted


@given(st.binary(max_size=500))
def test_a_quoted_line_is_short_and_safe(line: bytes) -> None:
    quoted = parse(line.replace(b"\n", b"")).quoted
    assert quoted.replace("\t", "").isprintable()
    assert len(quoted) < 1700  # all of it escaped


@pytest.mark.parametrize(
    ("line", "almost"),
    [
        (b"50 %OUTPUT: 1", True),
        (b"50 %\rERROR: e", True),
        (b" OUTPUT: 1", True),
        (b"\xef\xbb\xbfOUTPUT: 1", True),
        (b"\x1b[0mOUTPUT: 1", True),
        (b"output: 1", True),
        (b"Output : 1", True),
        (b"> OUTPUT: 1", True),
        (b"the output: 1", False),
        (b"ValueError: no", False),
        (b"OUTPUT: 1", False),
        (b"LOG: OUTPUT: 1", False),
        (b"", False),
    ],
)
def test_an_answer_that_is_almost_one_is_known(line: bytes, *, almost: bool) -> None:
    assert parse(line).is_misspelt_answer == almost


@pytest.mark.parametrize(
    ("line", "is_of_logging"),
    [
        (b"ERROR:root:disk is slow", True),
        (b"ERROR:my.module:", True),
        (b"ERROR:__main__:x", True),
        (b"ERROR: root:x", False),
        (b"ERROR:no such model", False),
        (b"ERROR:", False),
        (b"LOG:root:x", False),
        (b"x ERROR:root:x", False),
    ],
)
def test_a_record_of_pythons_logging_is_known(line: bytes, *, is_of_logging: bool) -> None:
    assert parse(line).is_of_logging == is_of_logging
