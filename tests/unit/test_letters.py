"""Dead letters as facts: read from what strangers wrote, joined with their records, chosen."""

from __future__ import annotations

import gzip
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.config.loader import load
from consumer.dead_letters.format import portrait, unpacked
from consumer.dead_letters.model import (
    Entry,
    Letter,
    Reasons,
    Selection,
    Why,
    chosen,
    read_letter,
    show_age,
)
from consumer.job import Crashed, ErrorCode
from consumer.rabbitmq.codec import properties
from consumer.wire.message import Message
from consumer.wire.read import read_message
from consumer.wire.topology import Topology
from consumer.wire.write import ErrorRecord, replay_copy, retry_copy

DIED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEATH = {"reason": "rejected", "time": DIED, "queue": "classifier.jobs", "count": 1}
TOPOLOGY = Topology("classifier", 3)


def letter(**changes: Any) -> Letter:  # noqa: ANN401 - of its fields
    fields: dict[str, Any] = {"id": "a", "digest": b"d", "size": 2, "died_at": DIED.timestamp()}
    return Letter(**fields | changes)


def record(job_id: str, message: str = "why", time: datetime = DIED, correlation_id: str = "c") -> ErrorRecord:
    return ErrorRecord(
        job_id=job_id,
        correlation_id=correlation_id,
        code=ErrorCode.CRASHED,
        message=message,
        stderr_tail="",
        attempt=1,
        run_ms=1,
        time=time.isoformat(),
        consumer="test",
    )


def test_a_letter_says_when_why_and_of_what_it_died() -> None:
    older = {**DEATH, "reason": "expired"}
    message = Message(
        body=b'{"signal": [1], "model": "pumps"}',
        headers={"x-death": [DEATH, older], "attempt": 3, "replayed": 2, "job-id": "mine"},
        message_id="other",
        reply_to="amq.gen-x",
    )
    found = read_letter(message)
    assert (found.id, found.reason, found.died_at) == ("mine", "rejected", DIED.timestamp())
    assert (found.attempt, found.replayed, found.model) == (3, 2, "pumps")
    assert found.answers_a_caller


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-death": "no list"},
        {"x-death": []},
        {"x-death": ["no table"]},
        {"x-death": [{"time": "yesterday", "reason": 7}]},
        {"attempt": "two", "replayed": True, "job-id": 5},
    ],
)
def test_what_is_not_there_or_not_ours_is_not_known(headers: dict[str, object]) -> None:
    found = read_letter(Message(body=b"", headers=headers))
    assert (found.reason, found.died_at, found.model, found.attempt, found.replayed) == (None, None, None, 1, 0)
    assert (found.id.startswith("~"), found.has_own_id) == (True, False)


@given(st.binary())
def test_any_body_can_be_a_letters(body: bytes) -> None:
    assert read_letter(Message(body=body)).size == len(body)


@pytest.mark.parametrize(
    ("body", "model"),
    [(b'{"model": "m"}', "m"), (b'{"model": 1}', None), (b"[]", None), (b"no json", None), (b"{}", None)],
)
def test_the_model_is_read_of_a_json_object_only(body: bytes, model: str | None) -> None:
    assert read_letter(Message(body=body)).model == model


def test_an_id_is_found_as_it_is_and_as_it_was_shown() -> None:
    odd = letter(id="\x1b[31mred")
    assert odd.has_id("\x1b[31mred")
    assert odd.has_id(r"\x1b[31mred")
    assert not odd.has_id("red")


def test_of_several_records_of_a_job_the_one_nearest_to_its_death_counts() -> None:
    reasons = Reasons([letter()])
    for day in (1, 2, 3):
        reasons.see(record("a", f"day {day}", DIED.replace(day=day)))
    found = reasons.of(letter())
    assert found is not None
    assert found.message == "day 2"


def test_a_job_without_an_id_is_found_by_its_correlation_id_and_another_is_not() -> None:
    anonymous, named = letter(id="~1", correlation_id="c"), letter(id="b", correlation_id="c")
    reasons = Reasons([anonymous, named])
    reasons.see(record("made-up"))
    assert reasons.of(anonymous)
    assert reasons.of(named) is None


def test_records_of_other_jobs_are_not_kept() -> None:
    reasons = Reasons([letter()])
    reasons.see(record("other", correlation_id="other"))
    assert reasons.of(letter(id="other")) is None


ENTRIES = [
    Entry(letter(id="a", reason="rejected", model="m"), Why("crashed", "", None)),
    Entry(letter(id="b", reason="expired", died_at=DIED.timestamp() - 100), None),
    Entry(letter(id="c", died_at=None), None),
]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), "abc"),
        (Selection(limit=2), "ab"),
        (Selection(ids=frozenset("ac")), "ac"),
        (Selection(ids=frozenset("ac"), limit=1), "a"),
        (Selection(reasons=frozenset({"expired", "rejected"})), "ab"),
        (Selection(codes=frozenset({"crashed"})), "a"),
        (Selection(models=frozenset({"m"})), "a"),
        (Selection(models=frozenset({"m"}), reasons=frozenset({"expired"})), ""),
        (Selection(older_than_s=50), "b"),
        (Selection(newer_than_s=50), "a"),
        (Selection(newer_than_s=500, older_than_s=50), "b"),
    ],
)
def test_a_selection_takes_one_of_each_list_and_counts_at_last(selection: Selection, expected: str) -> None:
    assert "".join(entry.letter.id for entry in selection.of(ENTRIES, DIED.timestamp() + 10)) == expected


def test_twins_are_taken_as_often_as_they_were_chosen() -> None:
    take = chosen([letter(), letter()])
    assert [take(letter()) for _ in range(3)] == [True, True, False]
    assert not take(letter(replayed=1))


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "-"), (-3, "0s"), (119, "119s"), (120, "2m"), (7300, "2h"), (172_800, "2d")]
)
def test_an_age_is_shown_in_its_largest_unit(seconds: float | None, shown: str) -> None:
    assert show_age(seconds) == shown


def test_a_replayed_copy_starts_over_and_keeps_its_mark_through_retries() -> None:
    dead = Message(
        body=b"{}",
        headers={
            "x-death": [DEATH],
            "CC": ["elsewhere"],
            "mine": 1,
            "attempt": 3,
            "job-id": "a",
            "replayed": 1,
            "last-error": "crashed: m",
        },
        message_id="m",
        correlation_id="c",
        reply_to="r",
    )
    copy = replay_copy(dead)
    assert copy.headers == {"mine": 1, "job-id": "a", "replayed": 2}
    assert (copy.message_id, copy.correlation_id, copy.reply_to) == ("m", "c", "r")
    request, _ = read_message(copy, TOPOLOGY, load({}, {}).job_rules)
    assert (request.id, request.attempt, request.replayed) == ("a", 1, 2)
    assert retry_copy(copy, request, Crashed(message="m")).headers["replayed"] == 2


def test_the_wait_of_a_replayed_job_begins_with_its_replay_and_that_of_a_retry_with_the_producer() -> None:
    """Or a letter of last week would be a job that has waited for a week, and `JobsWait` would fire."""
    last_week = time.time() - 7 * 86_400
    dead = Message(body=b"{}", message_id="m", timestamp=last_week)

    def published_at(copy: Message) -> float:
        sent = properties(copy).timestamp
        assert sent is not None
        return sent.timestamp()

    assert published_at(replay_copy(dead)) == pytest.approx(time.time(), abs=60)
    request, _ = read_message(dead, TOPOLOGY, load({}, {}).job_rules)
    assert published_at(retry_copy(dead, request, Crashed(message="m"))) == pytest.approx(last_week)


def test_a_letter_in_gzip_is_read_and_shown_as_its_job() -> None:
    message = Message(body=gzip.compress(b'{"model": "pumps"}'), content_encoding="gzip", message_id="a")
    found = read_letter(message)
    assert (found.model, found.size) == ("pumps", len(message.body))
    assert portrait(found, message, [])[-1] == '    {"model": "pumps"}'
    cut = Message(body=b"\x1f\x8b", content_encoding="gzip")
    assert read_letter(cut).model is None
    assert portrait(read_letter(cut), cut, [])[-1] == "    \\x1f\\x8b"


def test_a_portrait_begins_with_the_last_failure_and_ends_with_the_beginning_of_the_body() -> None:
    message = Message(body=b'{"signal": [' + b"1," * 5000 + b"1]}", message_id="m1")
    records = [record("m1", text) for text in ("first", "second")]
    lines = portrait(read_letter(message), message, records)
    assert (lines[1], lines[3]) == ("    second", "    first")
    assert lines[4].split() == ["job", "id:", "m1"]
    assert lines[-2] == f"body ({len(message.body)} bytes; this is the beginning, `show --body` writes all):"
    assert lines[-1] == f"    {message.body[:1024].decode()}"


@pytest.mark.parametrize(
    ("body", "encoding", "written"),
    [
        (gzip.compress(b"\xef\xbb\xbf{}", mtime=0), "GZIP", b"{}"),
        (b"\xef\xbb\xbf{}", None, b"\xef\xbb\xbf{}"),
        (b"\x1f\x8b", "gzip", b"\x1f\x8b"),
        (b"\0", "zstd", b"\0"),
    ],
)
def test_a_body_is_written_byte_for_byte_but_gzip_unpacked(
    body: bytes, encoding: str | None, written: bytes
) -> None:
    assert unpacked(Message(body=body, content_encoding=encoding)) == written
