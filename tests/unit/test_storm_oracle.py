"""The oracle of the storm finds what it is there to find: it is the part of a storm that could be wrong unseen."""

from __future__ import annotations

import pytest
from storm.jobs import ANSWERS, KINDS, RESULTS, Sent
from storm.oracle import Dead, Reply, Verdict, judge


def sent(kind: str = "adds", publishes: int = 1) -> Sent:
    return Sent("j", KINDS[kind], {"kind": kind, "n": 1, "signal": [1, 2]}, publishes)


def answered(output: object = None, queue: str = RESULTS, correlation_id: str = "for j") -> Reply:
    output = {"n": 1, "sum": 3} if output is None else output
    return Reply(queue, correlation_id, {"job_id": "j", "status": "succeeded", "output": output})


def failed(code: str) -> Reply:
    return Reply(RESULTS, "for j", {"job_id": "j", "status": "failed", "error": {"code": code}})


def rejected(reason: str = "rejected") -> Dead:
    return Dead("j", reason)


def summary(verdict: Verdict) -> tuple[int, int, int, int]:
    return len(verdict.lost), len(verdict.wrong), len(verdict.victims), verdict.duplicates


GOOD, LOST, WRONG, VICTIM, TWICE = (0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("job", "replies", "dead", "recorded", "expected"),
    [
        (sent(), [answered()], [], None, GOOD),
        (sent(), [], [], None, LOST),
        (sent(), [answered({"n": 1, "sum": 4})], [], None, WRONG),
        (sent(), [answered(correlation_id="for k")], [], None, WRONG),
        (sent("naps"), [answered(queue=ANSWERS)], [], None, GOOD),
        (sent("naps"), [answered(queue=RESULTS)], [], None, WRONG),
        (sent(), [answered(), answered()], [], None, TWICE),
        (sent(publishes=2), [answered(), answered()], [], None, GOOD),
        (sent(), [failed("crashed")], [rejected()], "crashed", VICTIM),
        (sent(), [failed("crashed")], [], "crashed", (1, 0, 1, 0)),
        (sent(), [answered()], [rejected()], None, VICTIM),
        (sent(), [failed("invalid_job")], [rejected()], "invalid_job", (1, 1, 1, 0)),
        (sent(), [], [rejected("delivery_limit")], None, LOST),
        (sent(), [], [rejected("expired")], None, LOST),
        (sent("expires"), [], [rejected("expired")], None, GOOD),
        (sent("fails"), [failed("classifier_error")], [rejected()], "classifier_error", GOOD),
        (sent("fails"), [failed("classifier_error")], [], "classifier_error", LOST),
        (sent("fails"), [failed("classifier_error")], [rejected()], None, LOST),
        (sent("fails"), [], [rejected()], "classifier_error", LOST),
        (sent("fails"), [answered()], [], None, WRONG),
        (sent("answers_nobody"), [], [rejected()], "unroutable_reply", GOOD),
        (sent("answers_nobody"), [], [rejected()], None, LOST),
    ],
)
def test_each_end_of_a_job_is_judged(
    job: Sent, replies: list[Reply], dead: list[Dead], recorded: str | None, expected: tuple[int, int, int, int]
) -> None:
    verdict = judge([job], replies, dead, {"j": recorded} if recorded else {})
    assert summary(verdict) == expected, verdict


@pytest.mark.parametrize(("dead", "lost"), [([rejected()], 0), ([], 1)])
def test_where_error_records_may_be_given_up_a_failure_needs_its_dead_letter_all_the_same(
    dead: list[Dead], lost: int
) -> None:
    assert len(judge([sent("fails")], [failed("classifier_error")], dead, None).lost) == lost


def test_an_answer_to_nothing_is_wrong() -> None:
    assert judge([], [answered()], [rejected()], {}).wrong == ["j was never sent"]


def test_all_shares_make_a_thousand() -> None:
    assert sum(kind.share for kind in KINDS.values()) == 1000
