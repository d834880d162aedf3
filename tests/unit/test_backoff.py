"""How long pauses get, and what is said how often."""

from __future__ import annotations

from itertools import pairwise

import pytest

from consumer.rabbitmq.backoff import EARLY_CAP_S, Outage, ceiling_s


@pytest.mark.parametrize(
    ("failures", "outage_s", "ceiling"),
    [
        (0, 0, 0.1),
        (1, 0.1, 0.2),
        (3, 1, 0.8),
        (4, 2, 1),
        (200, 59, 1),
        (200, 60, 6),
        (200, 300, 30),
        (9999, 9e9, 30),
    ],
)
def test_pauses_double_up_to_a_second_in_the_first_minute_and_to_thirty_later(
    failures: int, outage_s: float, ceiling: float
) -> None:
    assert ceiling_s(failures, outage_s) == ceiling


def test_a_pause_is_anything_between_nothing_and_the_ceiling() -> None:
    outage = Outage(since=0)
    assert outage.pause_s(0, chance=lambda low, high: low + high / 2) == 0.05
    assert outage.pause_s(1, chance=lambda low, high: low + high) == 0.2
    assert outage.failures == 2


def test_a_fault_is_told_at_once_and_then_at_growing_intervals() -> None:
    outage = Outage(since=0)
    told = [now for now in range(3600) if outage.is_worth_logging("down", now)]
    intervals = [later - earlier for earlier, later in pairwise(told)]
    assert told[0] == 0
    assert intervals == sorted(intervals)
    assert len(told) < 20
    assert max(intervals) == 600


def test_each_new_fault_is_told_though_others_are_kept_quiet() -> None:
    outage = Outage(since=0)
    told = [fault for fault in ("down", "down", "refused", "down", "refused") if outage.is_worth_logging(fault, 1)]
    assert told == ["down", "refused"]


def test_short_lives_between_outages_make_no_pause_longer() -> None:
    outage = Outage(since=0.0)
    for _ in range(10):
        outage.pause_s(0.0)
    outage.exclude(500.0)
    assert outage.pause_s(501.0, chance=lambda _, most: most) == EARLY_CAP_S
