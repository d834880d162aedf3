"""Names and arguments that running installations depend on: a change here breaks them."""

from __future__ import annotations

import pytest

from consumer.wire.topology import EXCHANGE_TYPE, Queue, Topology

TOPOLOGY = Topology("classifier", max_attempts=3)
AT_LEAST_ONCE = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


def queue(name: str, topology: Topology = TOPOLOGY) -> Queue:
    (found,) = [queue for queue in topology.queues() if queue.name == name]
    return found


def test_every_name_is_under_the_prefix() -> None:
    names = [queue.name for queue in TOPOLOGY.queues()]
    assert names == [
        "classifier.dead",
        "classifier.results",
        "classifier.errors",
        "classifier.jobs",
        "classifier.retry.1s",
        "classifier.retry.5s",
    ]
    assert TOPOLOGY.dead_letter_exchange == "classifier.dlx"
    assert [TOPOLOGY.jobs, TOPOLOGY.dead, TOPOLOGY.results, TOPOLOGY.errors] == [
        "classifier.jobs",
        "classifier.dead",
        "classifier.results",
        "classifier.errors",
    ]


def test_jobs_are_dead_lettered_at_least_once_and_outlive_many_restarts() -> None:
    assert queue("classifier.jobs").arguments == {
        "x-queue-type": "quorum",
        "x-dead-letter-exchange": "classifier.dlx",
        "x-delivery-limit": 100,
        **AT_LEAST_ONCE,
    }


@pytest.mark.parametrize("name", ["classifier.dead", "classifier.results"])
def test_what_is_looked_at_is_never_dropped(name: str) -> None:
    assert queue(name).arguments == {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000}


def test_errors_are_a_stream_bounded_by_age_and_size() -> None:
    arguments = dict(queue("classifier.errors").arguments)
    assert arguments["x-queue-type"] == "stream"
    assert arguments["x-max-age"] == "7D"
    assert int(arguments["x-stream-max-segment-size-bytes"]) < int(arguments["x-max-length-bytes"])


def test_the_gateways_stream_is_there_for_a_gateway_only_and_bounded_by_age_and_size() -> None:
    found = TOPOLOGY.gateway_queue()
    assert found.name == TOPOLOGY.gateway == "classifier.gateway"
    assert found.arguments == {
        "x-queue-type": "stream",
        "x-max-age": "86400s",
        "x-max-length-bytes": 100_000_000,
        "x-stream-max-segment-size-bytes": 10_000_000,
    }
    assert found not in TOPOLOGY.queues()


def test_a_retry_queue_sends_back_to_the_jobs_after_its_delay() -> None:
    assert queue("classifier.retry.5s").arguments == {
        "x-queue-type": "quorum",
        "x-message-ttl": 5000,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "classifier.jobs",
        **AT_LEAST_ONCE,
    }


@pytest.mark.parametrize(("attempt", "delay"), [(1, 1), (2, 5), (3, 25), (4, 120), (5, 120), (49, 120)])
def test_each_attempt_waits_longer_up_to_a_last_delay(attempt: int, delay: int) -> None:
    assert Topology("p", max_attempts=50).retry(attempt) == f"p.retry.{delay}s"


@pytest.mark.parametrize("max_attempts", [1, 2, 3, 4, 5, 6, 50])
def test_the_retry_queues_that_are_used_are_those_that_are_declared(max_attempts: int) -> None:
    topology = Topology("p", max_attempts)
    used = {topology.retry(attempt) for attempt in range(1, max_attempts)}
    declared = [queue.name for queue in topology.queues() if ".retry." in queue.name]
    assert len(declared) == len(used)
    assert set(declared) == used


def test_the_dead_letter_exchange_leads_to_the_dead_letter_queue() -> None:
    assert (TOPOLOGY.dead_letter_exchange, EXCHANGE_TYPE) == ("classifier.dlx", "fanout")
    assert TOPOLOGY.dead == "classifier.dead"
