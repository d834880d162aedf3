"""The definitions file says what the code declares, and gives each user no more than it needs."""

from __future__ import annotations

import re

import pytest
from support.rabbitmq.definitions import DEFINITIONS, USERS, VHOST

from consumer.config.settings import Settings
from consumer.wire.topology import Queue, Topology

#: With the most attempts that the settings allow: then all retry queues are there.
TOPOLOGY = Topology(Settings().prefix, max_attempts=50)
PERMISSIONS = {entry["user"]: entry for entry in DEFINITIONS["permissions"]}


def may(user: str, act: str, name: str) -> bool:
    """As RabbitMQ decides it."""
    return re.search(PERMISSIONS[user][act], name) is not None


def test_queues_are_those_that_the_code_declares() -> None:
    queues = [Queue(entry["name"], entry["arguments"]) for entry in DEFINITIONS["queues"]]
    assert queues == [*TOPOLOGY.queues(), TOPOLOGY.gateway_queue()]
    assert all(entry["durable"] and not entry["auto_delete"] for entry in DEFINITIONS["queues"])


def test_the_dead_letter_exchange_leads_to_the_dead_letter_queue() -> None:
    [exchange] = DEFINITIONS["exchanges"]
    assert (exchange["name"], exchange["type"], exchange["durable"]) == (
        TOPOLOGY.dead_letter_exchange,
        "fanout",
        True,
    )
    [binding] = DEFINITIONS["bindings"]
    assert (binding["source"], binding["destination"]) == (TOPOLOGY.dead_letter_exchange, TOPOLOGY.dead)


def test_everything_is_in_a_vhost_of_its_own() -> None:
    assert [entry["name"] for entry in DEFINITIONS["vhosts"]] == [VHOST]
    for part in ("permissions", "exchanges", "queues", "bindings"):
        assert {entry["vhost"] for entry in DEFINITIONS[part]} == {VHOST}


def test_nobody_has_a_password_or_a_hash_of_one_in_the_file() -> None:
    assert [set(entry) for entry in DEFINITIONS["users"]] == [{"name", "tags"}] * len(USERS)


def test_only_the_operator_sees_the_consumers_of_others_and_what_scales_may_ask_the_management_api() -> None:
    assert {entry["name"]: entry["tags"] for entry in DEFINITIONS["users"]} == {
        "consumer": [],
        "producer": [],
        "operator": ["monitoring"],
        "gateway": [],
        "scaler": ["management"],
    }


def test_what_scales_may_look_and_touch_nothing() -> None:
    names = ["amq.default", *(queue.name for queue in TOPOLOGY.queues())]
    assert not [name for name in names for act in ("configure", "write", "read") if may("scaler", act, name)]


def test_the_consumer_configures_nothing_and_reads_jobs_alone() -> None:
    names = [TOPOLOGY.dead_letter_exchange, "amq.default", *(queue.name for queue in TOPOLOGY.queues())]
    assert [name for name in names if may("consumer", "configure", name)] == []
    assert [name for name in names if may("consumer", "read", name)] == [TOPOLOGY.jobs]


@pytest.mark.parametrize("name", [TOPOLOGY.dead_letter_exchange, *(queue.name for queue in TOPOLOGY.queues())])
def test_the_consumer_has_some_permission_on_all_that_it_checks_which_newer_rabbitmqs_ask_for(name: str) -> None:
    assert may("consumer", "write", name) or may("consumer", "read", name)


def test_the_gateway_publishes_by_queue_name_and_reads_its_stream_alone() -> None:
    names = [
        TOPOLOGY.dead_letter_exchange,
        TOPOLOGY.gateway,
        "amq.default",
        *(queue.name for queue in TOPOLOGY.queues()),
    ]
    assert [name for name in names if may("gateway", "configure", name)] == []
    # RabbitMQ 4.3 tells the depth of a queue to whoever may write to it, or has another permission on it.
    assert [name for name in names if may("gateway", "write", name)] == ["amq.default", TOPOLOGY.jobs]
    assert [name for name in names if may("gateway", "read", name)] == [TOPOLOGY.gateway]


@pytest.mark.parametrize("act", ["configure", "write", "read"])
@pytest.mark.parametrize(
    "name", ["classifier-2.jobs", "other", "amq.direct", "classifiers.jobs", "xclassifier.jobs"]
)
@pytest.mark.parametrize("user", USERS)
def test_names_that_only_look_like_ours_are_nobodys(user: str, act: str, name: str) -> None:
    assert not may(user, act, name)
