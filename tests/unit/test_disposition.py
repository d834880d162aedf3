"""The disposition table, cell by cell, as the design has it: not derived from the code's own table."""

from __future__ import annotations

import pytest

from consumer import job
from consumer.disposition import (
    FORGET,
    KEEP,
    TABLE,
    Disposition,
    Settlement,
    decide,
    decide_unroutable,
)
from consumer.job import (
    Abandoned,
    Crashed,
    ErrorCode,
    Failed,
    Interrupted,
    Invalid,
    InvalidOutput,
    Outcome,
    OverLimit,
    Succeeded,
    TimedOut,
    Unroutable,
    Unsuccessful,
)

ACKED = Disposition(Settlement.ACK, reply=True)
BURIED = Disposition(Settlement.DEAD_LETTER, reply=True)
RETRIED = Disposition(Settlement.RETRY, reply=False)
REQUEUED = Disposition(Settlement.REQUEUE, reply=False)
DONE = Disposition(Settlement.ACK, reply=False)

#: outcome, attempts left, last attempt
ROWS: list[tuple[Outcome, Disposition, Disposition]] = [
    (Succeeded(output=b"1"), ACKED, ACKED),
    (Failed(message="m"), BURIED, BURIED),
    (Invalid(message="m"), BURIED, BURIED),
    (Crashed(message="m"), RETRIED, BURIED),
    (InvalidOutput(message="m"), RETRIED, BURIED),
    (TimedOut(message="m"), RETRIED, BURIED),
    (OverLimit(message="m"), RETRIED, BURIED),
    (Interrupted(), REQUEUED, REQUEUED),
    (Abandoned(), DONE, DONE),
]
NAMES = [type(row[0]).__name__ for row in ROWS]


def endings() -> list[type[Outcome]]:
    return [found for found in vars(job).values() if isinstance(found, type) and issubclass(found, Outcome)]


@pytest.mark.parametrize(("outcome", "left", "_last"), ROWS, ids=NAMES)
@pytest.mark.parametrize("attempt", [1, 2])
def test_while_attempts_are_left(outcome: Outcome, left: Disposition, _last: Disposition, attempt: int) -> None:
    assert decide(outcome, attempt=attempt, max_attempts=3) == left


@pytest.mark.parametrize(("outcome", "_left", "last"), ROWS, ids=NAMES)
@pytest.mark.parametrize(("attempt", "max_attempts"), [(3, 3), (4, 3), (1, 1)])
def test_at_the_last_attempt(
    outcome: Outcome, _left: Disposition, last: Disposition, attempt: int, max_attempts: int
) -> None:
    assert decide(outcome, attempt=attempt, max_attempts=max_attempts) == last


def test_every_ending_that_a_run_can_have_is_in_the_table() -> None:
    never_an_ending_of_a_run = {Outcome, Unsuccessful, Unroutable}
    assert set(endings()) - never_an_ending_of_a_run == set(TABLE) == {type(row[0]) for row in ROWS}


def test_an_ending_that_is_not_in_the_table_is_a_bug() -> None:
    with pytest.raises(KeyError):
        decide(Unroutable(message="m"), attempt=1, max_attempts=3)


@pytest.mark.parametrize(
    ("outcome", "code", "retryable"),
    [
        (Failed(message="m"), "classifier_error", False),
        (Invalid(message="m"), "invalid_job", False),
        (Crashed(message="m"), "crashed", True),
        (InvalidOutput(message="m"), "invalid_output", True),
        (TimedOut(message="m"), "timed_out", True),
        (OverLimit(message="m"), "over_limit", True),
        (Unroutable(message="m"), "unroutable_reply", False),
    ],
)
def test_each_ending_without_a_result_has_its_code(outcome: Unsuccessful, code: str, *, retryable: bool) -> None:
    assert outcome.code == ErrorCode(code)
    assert outcome.retryable == retryable


def test_every_error_code_belongs_to_one_ending() -> None:
    codes = [
        ending.code for ending in endings() if issubclass(ending, Unsuccessful) and ending is not Unsuccessful
    ]
    assert sorted(codes) == sorted(ErrorCode)


@pytest.mark.parametrize("retryable_outcome", [row[0] for row in ROWS if row[1] is RETRIED], ids=str)
def test_what_is_retried_is_what_a_producer_may_send_again(retryable_outcome: Outcome) -> None:
    assert isinstance(retryable_outcome, Unsuccessful)
    assert retryable_outcome.retryable


@pytest.mark.parametrize(
    ("decided", "reply_to", "expected"),
    [
        (ACKED, "amq.gen-abc", FORGET),
        (ACKED, "amq.rabbitmq.reply-to.abc", FORGET),
        (ACKED, "answers", KEEP),
        (ACKED, "classifier.results", KEEP),
        (ACKED, "my.amq.gen-abc", KEEP),
        (BURIED, "amq.gen-abc", KEEP),
        (BURIED, "answers", KEEP),
    ],
)
def test_an_unroutable_reply_is_the_operators_mistake_unless_the_caller_has_gone(
    decided: Disposition, reply_to: str, expected: Disposition
) -> None:
    assert decide_unroutable(decided, reply_to) == expected


def test_nobody_is_replied_to_twice_over_an_unroutable_reply() -> None:
    assert Disposition(Settlement.ACK, reply=False) == FORGET
    assert Disposition(Settlement.DEAD_LETTER, reply=False) == KEEP


@pytest.mark.parametrize("settlement", Settlement)
def test_an_error_record_goes_with_a_dead_letter_and_with_nothing_else(settlement: Settlement) -> None:
    assert Disposition(settlement, reply=True).records == (settlement is Settlement.DEAD_LETTER)
