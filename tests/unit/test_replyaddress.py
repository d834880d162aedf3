"""Where replies may go: what a producer can ask for, and what no trick gets through."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.wire.reply_address import DIRECT_REPLY_PREFIX, refusal
from consumer.wire.topology import RETRY_DELAYS_S, Topology

TOPOLOGY = Topology("ours", 50)
#: As RabbitMQ 3.10 made it for a caller.
DIRECT = DIRECT_REPLY_PREFIX + "g1h2AA5yZXBseUA3MjM1MDM1NgAABAYAAAAAawVh/A==.4JvskeO57NM70zCNfzHWaA=="


@pytest.mark.parametrize("name", ["answers", "ours", "ours-2.jobs", "Ours.jobs", "amq.gen-JzTY20BRgKO", DIRECT])
def test_without_a_pattern_any_queue_but_ours_and_rabbitmqs_will_do(name: str) -> None:
    assert refusal(name, TOPOLOGY, None) is None


@pytest.mark.parametrize(
    "name",
    [
        *(queue.name for queue in TOPOLOGY.queues()),
        TOPOLOGY.dead_letter_exchange,
        TOPOLOGY.gateway,
        TOPOLOGY.gateway + ".x",
        "ours.",
        "ours.new",
    ],
)
@pytest.mark.parametrize("allowed", [None, ".*"])
def test_no_pattern_opens_our_own_queues_but_the_results_and_the_gateways_stream(
    name: str, allowed: str | None
) -> None:
    fault = refusal(name, TOPOLOGY, allowed)
    assert (fault is None) == (name in (TOPOLOGY.results, TOPOLOGY.gateway))


def test_every_retry_queue_is_among_those_tried_above() -> None:
    names = {queue.name for queue in TOPOLOGY.queues()}
    assert {f"ours.retry.{delay}s" for delay in RETRY_DELAYS_S} <= names


@pytest.mark.parametrize("name", ["amq.direct", "amq.rabbitmq.trace", "amq.rabbitmq.reply-to", "amq.", "amq.gen"])
@pytest.mark.parametrize("allowed", [None, ".*"])
def test_no_pattern_opens_rabbitmqs_own_names(name: str, allowed: str | None) -> None:
    assert "one of RabbitMQ's own names" in str(refusal(name, TOPOLOGY, allowed))


@pytest.mark.parametrize(
    ("name", "is_allowed"),
    [
        ("replies.a", True),
        ("replies.", True),
        ("ours.results", True),
        ("my.replies.a", False),
        ("replies", False),
        ("replies.a\n", False),
        ("amq.gen-JzTY20BRgKO", False),
        (DIRECT, False),
    ],
)
def test_a_pattern_must_match_the_whole_name(name: str, is_allowed: bool) -> None:
    fault = refusal(name, TOPOLOGY, r"replies\.[a-z]*")
    assert (fault is None) == is_allowed
    assert is_allowed or "reply_to_allowed" in str(fault)


def test_a_pattern_may_name_server_named_queues_and_direct_replies() -> None:
    allowed = rf"amq\.gen-.*|{re.escape(DIRECT_REPLY_PREFIX)}.*"
    assert refusal("amq.gen-JzTY20BRgKO", TOPOLOGY, allowed) is None
    assert refusal(DIRECT, TOPOLOGY, allowed) is None
    assert refusal("answers", TOPOLOGY, allowed) is not None


@given(
    start=st.sampled_from(["ours", "amq", "amq.gen-", DIRECT_REPLY_PREFIX, ""]),
    rest=st.text("ours.jobsretamqgn-", max_size=12),
)
def test_of_any_names_only_those_of_callers_and_the_results_are_taken(start: str, rest: str) -> None:
    name = start + rest
    is_ours = name.startswith("ours.") and name != TOPOLOGY.results
    is_rabbitmqs = name.startswith("amq.") and not name.startswith(("amq.gen-", DIRECT_REPLY_PREFIX))
    assert (refusal(name, TOPOLOGY, None) is not None) == (is_ours or is_rabbitmqs)
    assert refusal(name, TOPOLOGY, ".*") == refusal(name, TOPOLOGY, None)


@given(name=st.text(max_size=255))
def test_any_name_gets_an_answer_without_a_control_character(name: str) -> None:
    assert (refusal(name, TOPOLOGY, "a*") or "").isprintable()
