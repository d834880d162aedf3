"""Replies that nobody receives: a producer that goes away with a thousand jobs does not fill the log."""

from __future__ import annotations

import logging

import pytest

from consumer.service.undeliverable import BURST_LINES, UndeliverableReplies


def test_the_first_ones_have_a_line_each_and_then_one_line_counts_those_of_ten_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="consumer")
    replies = UndeliverableReplies(now=100.0)
    for number in range(1000):
        replies.note(f"job-{number}", "no queue", now=100.0 + number / 100)
    assert len(caplog.records) == BURST_LINES
    assert caplog.messages[0] == "job job-0: the reply was not delivered: no queue"
    replies.note("late", "no queue", now=110.0)
    assert caplog.messages[-1] == (
        f"job late: the reply was not delivered: no queue; {1000 - BURST_LINES} more since the last such line"
    )
    assert {getattr(record, "event", None) for record in caplog.records} == {"reply_undeliverable"}
    replies.note("later", "no queue", now=121.0)
    assert caplog.messages[-1] == "job later: the reply was not delivered: no queue"
