"""What RabbitMQ has told about the messages that it takes: sizes, and addresses over which it cuts us off."""

from __future__ import annotations

from consumer.properties import CUT_OFF_KEPT, Limits
from consumer.replyaddress import DIRECT_REPLY_PREFIX

ADDRESS = DIRECT_REPLY_PREFIX + "x.y"
REASON = "the connection that publishes was closed: INTERNAL_ERROR"


def test_an_address_that_cut_us_off_twice_is_not_tried_again() -> None:
    limits = Limits()
    limits.lost_over(ADDRESS, REASON)
    assert not limits.cuts_off(ADDRESS)
    limits.lost_over(ADDRESS, REASON)
    assert limits.cuts_off(ADDRESS)
    assert not limits.cuts_off(ADDRESS + "z")


def test_a_queue_or_another_reason_is_not_to_blame() -> None:
    limits = Limits()
    for _ in range(3):
        limits.lost_over("answers", REASON)
        limits.lost_over(ADDRESS, "the connection that publishes went silent")
    assert not limits.cuts_off("answers")
    assert not limits.cuts_off(ADDRESS)


def test_addresses_are_not_remembered_without_end() -> None:
    limits = Limits()
    for number in range(3 * CUT_OFF_KEPT):
        limits.lost_over(f"{ADDRESS}{number}", REASON)
    assert len(limits.lost_with) <= CUT_OFF_KEPT
