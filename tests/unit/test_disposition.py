"""The disposition table, cell by cell, as the design has it: not derived from the code's own table."""

from __future__ import annotations

import pytest

from consumer import job
from consumer.disposition import (
    FAULTS,
    TABLE,
    Disposition,
    Fault,
    Publish,
    Settlement,
    decide,
    decide_again,
    reply_fault,
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
    OverOutput,
    Succeeded,
    TimedOut,
    Unroutable,
    Unsuccessful,
)

ACKED = Disposition(Settlement.ACK, (Publish.REPLY,))
BURIED = Disposition(Settlement.DEAD_LETTER, (Publish.REPLY, Publish.ERROR_RECORD))
RETRIED = Disposition(Settlement.RETRY, (Publish.RETRY_COPY,))
REQUEUED = Disposition(Settlement.REQUEUE)
DONE = Disposition(Settlement.ACK)
KEPT = Disposition(Settlement.DEAD_LETTER, (Publish.ERROR_RECORD,))
REJECTED = Disposition(Settlement.DEAD_LETTER)

#: outcome, attempts left, last attempt
ROWS: list[tuple[Outcome, Disposition, Disposition]] = [
    (Succeeded(output=b"1"), ACKED, ACKED),
    (Failed(message="m"), BURIED, BURIED),
    (Invalid(message="m"), BURIED, BURIED),
    (Crashed(message="m"), RETRIED, BURIED),
    (InvalidOutput(message="m"), RETRIED, BURIED),
    (TimedOut(message="m"), RETRIED, BURIED),
    (OverLimit(message="m"), RETRIED, BURIED),
    (OverOutput(message="m"), BURIED, BURIED),
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
        (OverOutput(message="m"), "over_limit", False),
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
    assert sorted(codes) == sorted([*ErrorCode, ErrorCode.OVER_LIMIT])  # one is retried, the other not


@pytest.mark.parametrize("retryable_outcome", [row[0] for row in ROWS if row[1] is RETRIED], ids=str)
def test_what_is_retried_is_what_a_producer_may_send_again(retryable_outcome: Outcome) -> None:
    assert isinstance(retryable_outcome, Unsuccessful)
    assert retryable_outcome.retryable


@pytest.mark.parametrize(
    ("reply_to", "fault"),
    [
        ("amq.gen-abc", Fault.CALLER_GONE),
        ("amq.rabbitmq.reply-to.abc", Fault.CALLER_GONE),
        ("answers", Fault.REFUSED),
        ("classifier.results", Fault.REFUSED),
        ("my.amq.gen-abc", Fault.REFUSED),
    ],
)
def test_a_reply_that_comes_back_is_the_operators_mistake_unless_the_caller_has_gone(
    reply_to: str, fault: Fault
) -> None:
    assert reply_fault(reply_to) is fault


#: what was decided, what failed and why, what remains
REMAINS = [
    (ACKED, Publish.REPLY, Fault.CALLER_GONE, DONE),
    (ACKED, Publish.REPLY, Fault.REFUSED, KEPT),
    (ACKED, Publish.REPLY, Fault.TOO_LARGE, BURIED),
    (BURIED, Publish.REPLY, Fault.CALLER_GONE, KEPT),
    (BURIED, Publish.REPLY, Fault.REFUSED, KEPT),
    (BURIED, Publish.REPLY, Fault.TOO_LARGE, BURIED),
    (RETRIED, Publish.RETRY_COPY, Fault.REFUSED, BURIED),
    (RETRIED, Publish.RETRY_COPY, Fault.TOO_LARGE, BURIED),
    (BURIED, Publish.ERROR_RECORD, Fault.REFUSED, REJECTED),
    (BURIED, Publish.ERROR_RECORD, Fault.TOO_LARGE, REJECTED),
]


@pytest.mark.parametrize(("decided", "publish", "fault", "remains"), REMAINS)
def test_what_remains_when_a_publish_fails(
    decided: Disposition, publish: Publish, fault: Fault, remains: Disposition
) -> None:
    assert decide_again(decided, publish, fault) == remains


def test_every_fault_that_a_publish_can_have_is_in_the_table() -> None:
    assert {(publish, fault) for _, publish, fault, _ in REMAINS} == set(FAULTS)


def test_nothing_is_published_twice_after_a_fault_but_a_shorter_reply() -> None:
    for decided, publish, fault, remains in REMAINS:
        done = decided.publishes[: decided.publishes.index(publish) + 1]
        again = set(done) & set(remains.publishes)
        assert not again or fault is Fault.TOO_LARGE


@pytest.mark.parametrize("decided", [cell for row in ROWS for cell in row[1:]] + [row[3] for row in REMAINS])
def test_an_error_record_goes_with_a_dead_letter_and_with_nothing_else(decided: Disposition) -> None:
    is_recorded = Publish.ERROR_RECORD in decided.publishes
    assert not is_recorded or decided.settlement is Settlement.DEAD_LETTER


def test_what_remains_after_a_publish_is_what_follows_it() -> None:
    assert BURIED.after(Publish.REPLY) == KEPT
    assert KEPT.after(Publish.ERROR_RECORD) == REJECTED
