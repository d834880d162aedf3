"""The consumers of one queue: what each says about itself, and by what they differ."""

from __future__ import annotations

from typing import Any

import pytest

from consumer.config.loader import load
from consumer.preflight.consumers import judged
from consumer.preflight.finding import Level
from consumer.service.consumer_info import arguments, consumer_name
from consumer.service.fleet import Member, described, differences, members

JOBS = "classifier.jobs"


def listed(channel: str, told: dict[str, Any] | list[Any], **more: object) -> dict[str, Any]:
    """A consumer as the management API lists it."""
    details = {"name": channel, "peer_host": "10.0.0.7"}
    return {
        "queue": {"name": JOBS},
        "arguments": told,
        "channel_details": details,
        "consumer_tag": "t",
        **more,
    }


def test_a_consumer_describes_itself_so_that_it_can_be_read_back() -> None:
    told = arguments(
        load({"classifier": "mine:classify", "pool_size": 2}, {}), "mine.py 0123", "2026-01-31T12:00:00+00:00"
    )
    (member,) = members([listed("c", told)], {"c": 1}, JOBS)
    assert member.name == consumer_name()
    assert (member.classifier, member.loaded, member.since) == ("mine:classify", "mine.py 0123", told["since"])
    assert (member.busy, member.pool_size) == (1, 2)
    assert member.version


def test_the_consumer_that_fetches_ahead_is_a_part_of_its_process() -> None:
    told = {"host": "a", "pid": "1", "classifier": "mine:classify", "pool_size": "2"}
    both = [listed("c", told), listed("c", {**told, "x-priority": -1}), listed("d", told, queue={"name": "other"})]
    assert members(both, {"c": 9}, JOBS) == [Member("a:1", "mine:classify", pool_size=2, busy=2)]


@pytest.mark.parametrize("told", [[], {}, {"pool_size": "many", "x": None}])
def test_another_program_is_named_by_its_tag_and_address(told: dict[str, Any] | list[Any]) -> None:
    (member,) = members([listed("c", told)], {}, JOBS)
    assert member == Member("t at 10.0.0.7")
    assert differences([member], JOBS) == [
        "t at 10.0.0.7 takes jobs from classifier.jobs and is no consumer of this service"
    ]


def test_what_a_consumer_says_is_escaped() -> None:
    assert described("a:1", {"classifier": "\x1b[31mred"}).classifier == "\\x1b[31mred"


def test_a_consumer_that_is_not_listed_yet_is_no_absent_one_for_check() -> None:
    assert [one.level for one in judged([], None, JOBS, 1)] == [Level.SKIPPED]
    assert [one.level for one in judged([], None, JOBS, 0)] == [Level.OK]
    (found,) = judged([member("a:1")], None, JOBS, 1)
    assert found.level is Level.OK


def member(name: str, classifier: str = "mine:classify", loaded: str = "mine.py 01", version: str = "1") -> Member:
    return Member(name, classifier, loaded, version)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([], []),
        ([member("a:1")], []),
        ([member("a:1"), member("b:1")], []),
        (
            [member("a:1"), member("b:1", "old:classify"), member("c:1")],
            ["run different classifiers: mine:classify (a:1, c:1); old:classify (b:1)"],
        ),
        (
            [member("a:1"), member("b:1", loaded="mine.py 02")],
            ["have loaded different versions of mine:classify: mine.py 01 (a:1); mine.py 02 (b:1)"],
        ),
        (
            [member("a:1"), member("b:1", version="2")],
            ["have different versions of this service: 1 (a:1); 2 (b:1)"],
        ),
    ],
    ids=str,
)
def test_each_difference_is_a_sentence_that_names_who_has_what(members: list[Member], expected: list[str]) -> None:
    assert differences(members, JOBS) == [f"consumers of {JOBS} {one}" for one in expected]
