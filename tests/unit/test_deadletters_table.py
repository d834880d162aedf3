"""The table of dead letters: a line for each where there is room, and no control codes of a stranger."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from consumer.dead_letters.model import Entry, Letter, Why
from consumer.dead_letters.table import table

NOW = 1_000_000.0


def entry(
    name: str,
    code: str | None,
    message: str = "no class fits the signal that was sent",
    model: str | None = "machines",
) -> Entry:
    reason = "rejected" if code else "expired"
    letter = Letter(id=name, digest=b"", size=2, died_at=NOW - 7300, reason=reason, model=model)
    return Entry(letter, Why(code, message, None) if code else None)


def lines(*entries: Entry, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(table(entries, NOW, width))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_letter_is_a_line(width: int) -> None:
    shown = lines(entry("line-4/0017", "classifier_error"), entry("late", None), width=width)
    assert len(shown) == 4
    assert all(len(line) <= width for line in shown)
    assert shown[2].split()[:2] == ["2h", "line-4/0017"]


def test_a_column_that_is_empty_in_all_lines_is_left_out() -> None:
    shown = lines(entry("line-4/0017", "classifier_error"), entry("late", None), width=120)
    assert shown[0].split() == ["age", "job", "id", "reason", "code", "message", "attempt", "model"]


def test_an_id_that_is_too_long_for_a_line_can_still_be_copied() -> None:
    shown = lines(entry("x" * 100, "crashed"), width=80)
    assert sum(line.count("x") for line in shown) == 100


def test_a_message_with_too_little_room_is_below_its_id() -> None:
    ids = ["1a0cb4dc-7490-4f60-810e-13634873e0c2", "db67dae3-b233-40f0-b575-2785a49262e2"]
    shown = lines(*(entry(name, "classifier_error", model=None) for name in ids), width=80)
    assert shown[0].split()[:4] == ["age", "job", "id,", "message"]
    assert [line.split()[:2] for line in shown[2::2]] == [["2h", name] for name in ids]
    assert [line.split()[:2] for line in shown[3::2]] == [["no", "class"]] * 2
    assert all(len(line) <= 80 for line in shown)


def test_what_a_stranger_wrote_moves_no_cursor() -> None:
    shown = "\n".join(lines(entry("a\x1b[2J", "crashed", "b\x1b[31m\nc"), width=120))
    assert "\x1b" not in shown
    assert r"b\x1b[31m\nc" in shown
