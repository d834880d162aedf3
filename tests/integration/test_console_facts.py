"""What somebody who has only the management console can tell: which consumer runs what, and why something died."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from support.processes.consumer_process import ConsumerProcess, consumer
from support.processes.shell_classifiers import script
from support.rabbitmq.management_api import Management
from support.rabbitmq.producer import Producer
from support.waiting import wait_until

from consumer.rabbitmq.management import api


@pytest.fixture
def running(vhost_url: str, tmp_path: Path) -> Iterator[ConsumerProcess]:
    command = script(tmp_path, 'grep -q fail "$1" && echo "ERROR: as told"', "kill -SEGV $$")
    with consumer(vhost_url, command=command, pool_size=3, max_attempts=2) as started:
        yield started


def seen(management: Management, path: str, count: int) -> list[dict[str, Any]]:
    """Wait until the console, which is seconds behind, lists so many."""
    found: list[dict[str, Any]] = []

    def are_there() -> bool:
        found[:] = management.get(path)
        return len(found) == count

    wait_until(are_there, f"{count} in {path}")
    return found


def got(management: Management, queue: str) -> list[dict[str, Any]]:
    """Look at one message as the console's `Get messages` does; it stays there."""
    wanted = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = api(management.node, "POST", f"queues/{management.vhost}/{queue}/get", wanted)
        return bool(found)

    wait_until(is_there, f"a message in {queue}")
    return found


def test_connections_and_consumer_say_who_runs_what_and_where(
    running: ConsumerProcess, management: Management, tmp_path: Path
) -> None:
    about = {"runner": "a program per job", "classifier": str(tmp_path / "classify.sh"), "pool_size": "3"}
    host, pid = socket.gethostname(), str(running.process.pid)
    for connection in seen(management, "vhosts/{vhost}/connections", 2):
        told = connection["client_properties"]
        who = {
            "product": "rabbitmq-classifier",
            "version": version("rabbitmq-classifier"),
            "host": host,
            "pid": pid,
        }
        assert {name: told[name] for name in (*who, *about)} == {**who, **about}
        assert told["connection_name"].startswith("rabbitmq-classifier ")
        assert told["connection_name"].endswith(f" {host}:{pid}")
    (consuming,) = seen(management, "consumers/{vhost}", 1)
    assert consuming["consumer_tag"].startswith(f"classifier.{host}.{pid}.")
    who = {"host": host, "pid": pid, "version": version("rabbitmq-classifier")}
    assert consuming["arguments"] == {**who, **about, "since": consuming["arguments"]["since"]}
    assert (consuming["prefetch_count"], consuming["ack_required"]) == (3, True)
    assert running.stop() == os.EX_OK


def test_a_dead_letter_that_was_tried_before_says_what_ailed_it(
    running: ConsumerProcess, producer: Producer, management: Management
) -> None:
    producer.publish("classifier.jobs", b"{}", message_id="crashing")
    running.wait_for_event("job_settled", settlement="dead-letter")
    (letter,) = got(management, "classifier.dead")
    told = letter["properties"]["headers"]
    assert (told["x-death"][0]["reason"], told["job-id"], told["attempt"]) == ("rejected", "crashing", 2)
    assert told["last-error"] == "crashed: killed by SIGSEGV without an OUTPUT: or ERROR: line"
    assert running.stop() == os.EX_OK


def test_a_dead_letter_of_one_attempt_is_told_by_the_reply_in_the_results(
    running: ConsumerProcess, producer: Producer, management: Management
) -> None:
    producer.publish("classifier.jobs", b'{"why": "to fail"}', message_id="failing")
    running.wait_for_event("job_settled", settlement="dead-letter")
    (letter,) = got(management, "classifier.dead")
    assert letter["properties"]["message_id"] == "failing"
    (reply,) = got(management, "classifier.results")
    assert reply["properties"]["type"] == "job.failed"
    assert reply["properties"]["headers"]["job-id"] == "failing"
    assert '"code":"classifier_error","message":"as told"' in reply["payload"]
    assert running.stop() == os.EX_OK
