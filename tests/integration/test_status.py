"""`consumer status` beside a real RabbitMQ and a consumer at work."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from many_dead_letters import TOPOLOGY, bury, declare
from support.processes import forked
from support.processes.commands import environment
from support.processes.consumer_process import consumer
from support.processes.shell_classifiers import HELD, script
from support.rabbitmq.management_api import Management, rabbitmqctl
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S, wait_until

from consumer.cli.status import EXIT_NO_CONSUMER
from consumer.local_broker.files import free_ports


def status(url: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return forked.run("consumer", "status", *arguments, env={**environment(url, **settings), "COLUMNS": "120"})


def told(url: str, *arguments: str, **settings: str) -> dict[str, Any]:
    done = status(url, "--json", *arguments, **settings)
    assert done.returncode in (os.EX_OK, EXIT_NO_CONSUMER), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"queues": {queue["name"]: queue for queue in found["queues"]}}


def test_amqp_alone_tells_depth_and_consumers_and_what_is_missing(vhost_url: str, producer: Producer) -> None:
    nothing = status(vhost_url, "--json")
    assert {queue["state"] for queue in json.loads(nothing.stdout)["queues"]} == {"missing"}
    assert nothing.returncode == os.EX_CONFIG
    declare(vhost_url)
    bury(producer, ["a", "b", "c"])
    assert status(vhost_url).returncode == os.EX_OK
    producer.publish(TOPOLOGY.jobs, b"{}")
    waiting = status(vhost_url)
    assert (waiting.returncode, "and no consumer takes them" in waiting.stdout) == (EXIT_NO_CONSUMER, True)
    found = told(vhost_url, "--dead-letters")
    jobs, errors = found["queues"][TOPOLOGY.jobs], found["queues"][TOPOLOGY.errors]
    assert (jobs["ready"], jobs["consumers"], jobs["unacked"]) == (1, 0, None)
    assert errors["ready"] is None
    assert (found["slots"], found["dead_by_model"]) == (None, {"m0": 1, "m1": 1, "m2": 1})
    assert 0 <= found["dead_oldest_s"] < PATIENCE_S


def test_the_management_api_tells_the_slots_and_which_are_busy(
    vhost_url: str, producer: Producer, management: Management, tmp_path: Path
) -> None:
    settings = {"management_url": management.node.management_url}
    with consumer(vhost_url, command=script(tmp_path, *HELD), pool_size=3) as running:
        producer.publish(TOPOLOGY.jobs, b"{}")
        running.wait_for_event("job_log", "begun")
        wait_until(lambda: told(vhost_url, **settings)["slots_busy"] == 1, "RabbitMQ's statistics")
        found = told(vhost_url, **settings)
        assert found["slots"] == 3
        assert found["queues"][TOPOLOGY.jobs]["published_per_s"] is not None
        shown = status(vhost_url, **settings).stdout
        assert "slots: 1 of 3 busy" in shown
        (tmp_path / "go").touch()
        running.wait_for_event("job_settled", settlement="ack")


def test_an_alarm_is_a_warning_while_it_lasts(vhost_url: str, management: Management) -> None:
    declare(vhost_url)
    settings = {"management_url": management.node.management_url}

    def has_alarm() -> bool:
        return any("memory or disk alarm" in warning for warning in told(vhost_url, **settings)["warnings"])

    assert not has_alarm()
    try:
        rabbitmqctl(management.node, "set_vm_memory_high_watermark", "0.000001")
        wait_until(has_alarm, "RabbitMQ's statistics to have the alarm")
    finally:
        rabbitmqctl(management.node, "set_vm_memory_high_watermark", "0.4")
    wait_until(lambda: not has_alarm(), "the alarm to end")


def test_consumers_of_a_deleted_queue_are_neither_listed_nor_counted(
    vhost_url: str, producer: Producer, management: Management
) -> None:
    """RabbitMQ keeps them in its list; and somebody who makes the queue again gets them back."""
    settings = {"management_url": management.node.management_url}

    def listed() -> tuple[int, list[str]]:
        found = status(vhost_url, "--json", **settings)
        known = json.loads(found.stdout)
        return known["slots"], [one["name"] for one in known["consumers"]]

    with consumer(vhost_url, command='["true"]', pool_size=2) as running:
        wait_until(lambda: listed()[0] == 2, "RabbitMQ's list of consumers")
        [name] = listed()[1]
        producer.channel.queue_delete(TOPOLOGY.jobs)
        running.wait_for_event("connection_lost")
        gone = status(vhost_url, **settings)
        assert (gone.returncode, "it was deleted" in gone.stdout.replace("\n", " ")) == (os.EX_CONFIG, True)
        assert listed() == (0, [])
        declare(vhost_url)
        running.wait_for_event("reconnected")
        wait_until(lambda: listed() == (2, [name]), "the one consumer of the new queue")


def test_consumers_that_run_different_classifiers_are_listed_and_reported_wherever_one_looks(
    vhost_url: str, management: Management, tmp_path: Path
) -> None:
    api = {"management_url": management.node.management_url}
    new, old = (script(tmp_path, f"echo 'OUTPUT: {name}'", name=name) for name in ("new", "old"))
    with consumer(vhost_url, command=new, pool_size=2, **api) as first:
        with consumer(vhost_url, command=old, **api) as second:
            assert f"{tmp_path}/old" in second.wait_for_event("consumers_differ").text
            assert not first.events("consumers_differ")
            found = told(vhost_url, **api)
            pids = {str(first.process.pid): f"{tmp_path}/new", str(second.process.pid): f"{tmp_path}/old"}
            assert {one["name"].rpartition(":")[2]: one["classifier"] for one in found["consumers"]} == pids
            (warning,) = found["warnings"]
            assert "consumers of classifier.jobs run different classifiers" in warning
            assert "run different classifiers" in status(vhost_url, **api).stdout
            checked = forked.run("consumer", "check", env=environment(vhost_url, command=new, **api))
            assert "warning  consumers" in checked.stdout
        wait_until(lambda: len(told(vhost_url, **api)["consumers"]) == 1, "RabbitMQ's statistics")
        checked = forked.run("consumer", "check", env=environment(vhost_url, command=new, **api))
        assert "ok       consumers" in checked.stdout


def test_without_the_management_api_run_status_and_check_say_that_they_cannot_compare(
    vhost_url: str, tmp_path: Path
) -> None:
    command = script(tmp_path, "echo 'OUTPUT: 1'")
    with consumer(vhost_url, command=command) as first, consumer(vhost_url, command=command) as second:
        shown = status(vhost_url).stdout
        checked = forked.run("consumer", "check", env=environment(vhost_url, command=command)).stdout
        for told_by in (second.wait_for_event("consumers_unknown").text, shown, checked):
            words = " ".join(told_by.split())  # they may be on several lines
            assert "cannot be compared: AMQP does not expose which classifier" in words
            assert "set management_url to" in words
        assert not first.events("consumers_unknown")


def test_a_management_api_that_is_not_there_or_refuses_is_told_with_the_remedy(
    vhost_url: str, management: Management
) -> None:
    declare(vhost_url)
    away = status(vhost_url, management_url="http://127.0.0.1:1")
    assert (away.returncode, "rabbitmq_management" in away.stderr) == (os.EX_UNAVAILABLE, True)
    address = management.node.management_url.replace("//", "//nobody:secret@")
    refused = status(vhost_url, management_url=address)
    assert (refused.returncode, "`monitoring`" in refused.stderr) == (os.EX_NOPERM, True)
    assert "secret" not in refused.stderr


def test_where_one_node_of_several_is_away_the_commands_go_on_to_the_next(
    vhost_url: str, producer: Producer, management: Management, tmp_path: Path
) -> None:
    node = management.node
    away = vhost_url.replace(f":{node.amqp_port}/", f":{free_ports(1)[0]}/")
    urls = f"{away} {vhost_url}"
    declare(vhost_url)
    bury(producer, ["a"])
    with consumer(urls, command=script(tmp_path, "echo 'OUTPUT: 1'")):
        jobs = told(urls, management_url=node.management_url)["queues"][TOPOLOGY.jobs]
        assert jobs["consumers"] == 1
        for arguments, answer in (
            (("dead-letters", "list", "--json"), '"job_id": "a"'),
            (("submit", "-"), '"status": "succeeded"'),
        ):
            done = forked.run("consumer", *arguments, env=environment(urls), stdin="{}")
            assert (done.returncode, answer in done.stdout) == (os.EX_OK, True), (done.stdout, done.stderr)
            assert node.password not in done.stderr
