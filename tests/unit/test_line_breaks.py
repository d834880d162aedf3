"""Lines for people: broken between words on a terminal, and never within a command."""

from __future__ import annotations

import pytest

from consumer.line_breaks import wrapped

LONG = "RabbitMQ keeps the replies for a day, and no queued job runs twice. Continue with"
COMMAND = "`consumer submit --resume jobs.jsonl --out results.jsonl`"


@pytest.mark.parametrize("width", [20, 33, 80])
def test_a_line_is_broken_between_words(width: int) -> None:
    parts = wrapped(LONG, width)
    assert " ".join(parts) == LONG
    assert max(map(len, parts)) <= width


@pytest.mark.parametrize(
    ("line", "width"), [(LONG, None), (LONG, 5), ("  " + COMMAND.strip("`"), 30), ("x" * 90, 80), ("", 80)]
)
def test_a_line_stays_whole_in_a_file_or_if_it_is_a_command_to_copy(line: str, width: int | None) -> None:
    assert wrapped(line, width) == [line]


def test_a_command_within_a_line_stays_whole() -> None:
    assert wrapped(f"say {COMMAND} now", 30) == ["say", COMMAND, "now"]
