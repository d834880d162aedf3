"""Several queues that share the jobs: who publishes where, who takes them, and that none waits for nobody.

The plugin is switched on for the tests here, and off for the one that wants it missing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pika
import pytest
from harness import BIN, HELD, ConsumerProcess, Producer, consumer, environment, script, wait_until
from management import Management
from misconfigured import checked
from plugins import switch_plugins

from consumer.local_broker.node import Node, api, ctl
from consumer.preflight.finding import Level
from consumer.wire.topology import SHARDING_PLUGIN, Topology

SHARDS = 3
TOPOLOGY = Topology("classifier", 2, SHARDS)
#: Fails, crashes or echoes, as the job says.
CLASSIFY = (
    'case "$(cat "$1")" in',
    "*fail*) echo 'ERROR: as told' ;;",
    "*crash*) kill -SEGV $$ ;;",
    "*) printf 'OUTPUT: '; cat \"$1\"; echo ;;",
    "esac",
)


@pytest.fixture(scope="module")
def sharding(node: Node) -> Node:
    """The node, which knows the exchange's type."""
    switch_plugins(node, SHARDING_PLUGIN)
    return node


@pytest.fixture
def shard_url(sharding: Node, management: Management) -> str:
    return sharding.vhost_url(management.vhost)


@pytest.fixture
def shard_producer(shard_url: str) -> Iterator[Producer]:
    with Producer(shard_url) as opened:
        yield opened


def publish_to_all(producer: Producer, jobs: Sequence[str], body: bytes = b"{}") -> None:
    """Publish to the exchange, as producers do that know of shards."""
    for job in jobs:
        chosen = pika.BasicProperties(delivery_mode=2, message_id=job)
        producer.channel.basic_publish(TOPOLOGY.jobs_exchange, TOPOLOGY.jobs, body, chosen, mandatory=True)


def answered(producer: Producer, count: int) -> list[str]:
    """Wait for so many replies; return the ids of their jobs, sorted."""
    return sorted(producer.take(TOPOLOGY.results).json["job_id"] for _ in range(count))


def shard_settings(folder: Path, *lines: str, **others: object) -> dict[str, object]:
    return {"command": script(folder, *lines), "shards": SHARDS, "pool_size": SHARDS, "max_attempts": 2, **others}


def test_producers_that_know_nothing_of_shards_and_those_that_do_are_both_served(
    shard_url: str, shard_producer: Producer, tmp_path: Path
) -> None:
    with consumer(shard_url, **shard_settings(tmp_path, *CLASSIFY)) as running:
        old, new = [f"old-{number}" for number in range(5)], [f"new-{number}" for number in range(40)]
        for job in old:
            shard_producer.publish(TOPOLOGY.jobs, b"{}", message_id=job)
        publish_to_all(shard_producer, new)
        assert answered(shard_producer, 45) == sorted(old + new)
        assert running.stop() == os.EX_OK
    assert [shard_producer.depth(name) for name in TOPOLOGY.shard_names] == [0] * SHARDS


def test_every_shard_gets_its_part(shard_url: str, shard_producer: Producer, tmp_path: Path) -> None:
    with consumer(shard_url, **shard_settings(tmp_path, *CLASSIFY)) as running:
        assert running.stop() == os.EX_OK
    publish_to_all(shard_producer, [str(number) for number in range(300)])
    # 100 each; five standard deviations of a share that is chance.
    assert all(60 < shard_producer.depth(name) < 140 for name in TOPOLOGY.shard_names)


def test_a_job_of_any_shard_is_tried_again_dead_lettered_and_replayed_to_the_shards(
    shard_url: str, shard_producer: Producer, tmp_path: Path
) -> None:
    jobs = [f"job-{number}" for number in range(6)]
    with consumer(shard_url, **shard_settings(tmp_path, *CLASSIFY)) as running:
        publish_to_all(shard_producer, jobs, b'{"crash": 1}')
        assert answered(shard_producer, 6) == jobs
        wait_until(lambda: shard_producer.depth(TOPOLOGY.dead) == 6, "six dead letters")
        assert running.stop() == os.EX_OK
    subprocess.run(
        [BIN / "consumer", "dead-letters", "replay", "--all"],
        env=environment(shard_url, shards=SHARDS),
        check=True,
    )
    depths = [shard_producer.depth(name) for name in TOPOLOGY.shard_names]
    assert sum(depths) == 6
    assert sum(depth > 0 for depth in depths) > 1


def test_slots_go_where_jobs_wait_and_no_shard_is_left(
    shard_url: str, shard_producer: Producer, tmp_path: Path
) -> None:
    """All jobs in one shard: all slots but the two that stay at the others. Those take what comes there."""
    with consumer(shard_url, **shard_settings(tmp_path, *HELD, pool_size=8)) as running:
        for number in range(10):
            shard_producer.publish(TOPOLOGY.jobs, b"{}", message_id=f"job-{number}")
        for _ in range(6):
            running.wait_for("begun")
        assert shard_producer.depth(TOPOLOGY.jobs) == 4
        shard_producer.publish(TOPOLOGY.shard(2), b"{}", message_id="elsewhere")
        running.wait_for("elsewhere: begun")
        (tmp_path / "go").touch()
        assert len(answered(shard_producer, 11)) == 11
        assert running.stop() == os.EX_OK
    assert (tmp_path / "runs").read_text() == "run\n" * 11


def test_no_job_is_stranded_in_a_shard_when_consumers_are_killed(
    shard_url: str, shard_producer: Producer, tmp_path: Path
) -> None:
    jobs = sorted(f"job-{number}" for number in range(60))
    with ExitStack() as stack:
        running = [
            stack.enter_context(consumer(shard_url, **shard_settings(tmp_path, *HELD, pool_size=4)))
            for _ in range(3)
        ]
        publish_to_all(shard_producer, jobs)
        for one in running:
            one.wait_for("begun")
        for one in running[:2]:
            one.signal(signal.SIGKILL)
            one.end()
        (tmp_path / "go").touch()
        assert set(answered(shard_producer, 60)) == set(jobs)
        assert running[2].stop() == os.EX_OK
    assert [shard_producer.depth(name) for name in TOPOLOGY.shard_names] == [0] * SHARDS


def test_after_a_lost_connection_jobs_of_all_shards_are_taken_again(
    sharding: Node, management: Management, shard_url: str, shard_producer: Producer, tmp_path: Path
) -> None:
    """What runs is not run again, and lanes that had gone elsewhere begin at home."""
    jobs = [f"job-{number}" for number in range(20)]
    with consumer(shard_url, **shard_settings(tmp_path, *HELD, pool_size=6)) as running:
        for job in jobs:
            shard_producer.publish(TOPOLOGY.jobs, b"{}", message_id=job)
        for _ in range(4):
            running.wait_for("begun")
        ctl(sharding, "close_all_connections", "-p", management.vhost, "test")
        running.wait_for("taking jobs again")
        (tmp_path / "go").touch()
        with Producer(shard_url) as producer:
            publish_to_all(producer, new := [f"new-{number}" for number in range(20)])
            assert answered(producer, 40) == sorted([*jobs, *new])
        assert running.stop() == os.EX_OK
    assert (tmp_path / "runs").read_text() == "run\n" * 40


def test_without_the_plugin_the_service_names_it(node: Node, management: Management, tmp_path: Path) -> None:
    switch_plugins(node)
    try:
        url = node.vhost_url(management.vhost)
        given = shard_settings(tmp_path, *CLASSIFY)
        done = subprocess.run(
            [BIN / "consumer", "run"],
            env=environment(url, **given),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == os.EX_NOPERM
        remedy = f"on each node `rabbitmq-plugins enable {SHARDING_PLUGIN}`, or set `shards` to 1"
        assert remedy in done.stderr
        assert "Traceback" not in done.stderr
        found = checked({"amqp_url": url, **given}, "RabbitMQ", "version", "queues")
        assert [one.remedy for one in found if one.level == Level.FAILURE] == [remedy]
    finally:
        switch_plugins(node, SHARDING_PLUGIN)


def test_check_and_start_tell_of_shards_that_nobody_takes_from_and_of_pools_that_are_too_small(
    shard_url: str, tmp_path: Path
) -> None:
    names = ("RabbitMQ", "version", "queues", "permissions", "shards")
    given = shard_settings(tmp_path, *CLASSIFY)
    before = checked({"amqp_url": shard_url, **given}, *names)
    assert {one.level for one in before} == {Level.OK}
    with consumer(shard_url, **given) as running:
        assert running.stop() == os.EX_OK
    after = checked({"amqp_url": shard_url, **given}, *names)
    assert {one.level for one in after} == {Level.OK}
    fewer = checked({"amqp_url": shard_url, **given, "shards": 2}, *names)
    assert [one.detail for one in fewer if one.level == Level.WARNING] == [
        "classifier.jobs.2 is there, a shard beyond `shards` = 2: nobody takes its jobs"
    ]
    small = checked({"amqp_url": shard_url, **given, "pool_size": 2}, *names)
    assert [one.remedy for one in small if one.level == Level.FAILURE] == ["raise pool_size, or lower shards"]
    with consumer(shard_url, **{**given, "shards": 1}) as running:
        assert running.stop() == os.EX_OK
        assert [line for line in running.log if "classifier.jobs.1 is a shard beyond `shards` = 1" in line]


def test_a_shard_that_is_taken_away_from_the_exchange_gets_no_more_and_runs_empty(
    sharding: Node, management: Management, shard_url: str, shard_producer: Producer, tmp_path: Path
) -> None:
    """As deploy/SCALING.md has it for fewer shards."""
    gone = TOPOLOGY.shard(SHARDS - 1)
    with consumer(shard_url, **shard_settings(tmp_path, *HELD)) as running:
        publish_to_all(shard_producer, [str(number) for number in range(30)])
        for _ in range(SHARDS):
            running.wait_for("begun")
        waits = shard_producer.depth(gone)
        assert waits > 0
        binding = f"bindings/{management.vhost}/e/{TOPOLOGY.jobs_exchange}/q/{gone}/1"
        api(sharding, "DELETE", binding)
        publish_to_all(shard_producer, [str(number) for number in range(30, 60)])
        assert shard_producer.depth(gone) == waits
        (tmp_path / "go").touch()
        assert len(answered(shard_producer, 60)) == 60
        assert running.stop() == os.EX_OK
    ctl(sharding, "delete_queue", "-p", management.vhost, gone)
    with consumer(shard_url, **shard_settings(tmp_path, *HELD, shards=SHARDS - 1)) as running:
        assert running.stop() == os.EX_OK
        assert not [line for line in running.log if "beyond" in line]


def test_status_shows_every_shard_and_all_slots(
    sharding: Node, shard_url: str, shard_producer: Producer, tmp_path: Path
) -> None:
    given = shard_settings(tmp_path, *HELD, pool_size=4)
    with consumer(shard_url, **given) as running:
        publish_to_all(shard_producer, [str(number) for number in range(20)])
        for _ in range(4):
            running.wait_for("begun")
        # How many are busy RabbitMQ tells some seconds later.
        wait_until(lambda: slots(shard_url, sharding) == 4, "the management API to know all slots")
        (tmp_path / "go").touch()
        answered(shard_producer, 20)


def slots(url: str, node: Node) -> int | None:
    """Ask `consumer status` how many slots there are."""
    console = node.management_url.replace("//", f"//{node.user}:{node.password}@")
    done = subprocess.run(
        [BIN / "consumer", "status", "--json"],
        env=environment(url, shards=SHARDS, max_attempts=2, management_url=console),
        check=True,
        capture_output=True,
    )
    told = json.loads(done.stdout)
    assert [queue["name"] for queue in told["queues"]][:SHARDS] == list(TOPOLOGY.shard_names)
    assert told["slots_busy"] in (None, *range(5))
    slots: int | None = told["slots"]
    return slots


def test_submit_goes_to_all_shards_and_says_where_there_are_none(
    shard_url: str, shard_producer: Producer, tmp_path: Path
) -> None:
    jobs = tmp_path / "jobs.jsonl"
    jobs.write_text('{"n": 1}\n' * 30)
    command = [str(BIN / "consumer"), "submit", str(jobs)]
    sharded = environment(shard_url, shards=SHARDS)
    refused = subprocess.run(command, env=sharded, capture_output=True, text=True, check=False)
    assert refused.returncode == os.EX_CONFIG
    assert "there is no exchange 'classifier.shards'" in refused.stderr
    with consumer(shard_url, **shard_settings(tmp_path, *HELD, pool_size=6)) as running:
        with subprocess.Popen(command, env=sharded, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as submitting:
            for _ in range(6):
                running.wait_for("begun")
            wait_until(lambda: sum(waiting(shard_producer)) == 24, "all jobs to be published")
            assert sum(depth > 0 for depth in waiting(shard_producer)) > 1
            (tmp_path / "go").touch()
            out, _ = submitting.communicate()
        assert (submitting.returncode, out.count(b'"succeeded"')) == (os.EX_OK, 30)
        assert running.stop() == os.EX_OK


def waiting(producer: Producer) -> list[int]:
    return [producer.depth(name) for name in TOPOLOGY.shard_names]


CONSUMERS, POOL = 3, 2


def test_consumers_of_one_queue_share_its_work_fairly(vhost_url: str, producer: Producer, tmp_path: Path) -> None:
    """While jobs last, every consumer has just its slots full: nobody hoards, nobody is left out."""
    jobs = 90
    with ExitStack() as stack:
        # First a gate; then each job sleeps, so that shares depend on slots, not on the machine's speed.
        command = script(tmp_path, *HELD[:3], "sleep 0.1", *HELD[3:])
        running = [
            stack.enter_context(consumer(vhost_url, command=command, pool_size=POOL)) for _ in range(CONSUMERS)
        ]
        for number in range(jobs):
            producer.publish(TOPOLOGY.jobs, b"{}", message_id=f"{number}-{uuid4()}")
        for one in running:
            for _ in range(POOL):
                one.wait_for("begun")
        assert producer.depth(TOPOLOGY.jobs) == jobs - CONSUMERS * POOL
        (tmp_path / "go").touch()
        assert len({producer.take(TOPOLOGY.results).json["job_id"] for _ in range(jobs)}) == jobs
        shares = [done(one) for one in running]
    assert sum(shares) == jobs
    # A fair share is 30, and at most a prefetch more or less; the other half is room for a busy machine.
    assert min(shares) >= jobs / CONSUMERS / 2


def done(running: ConsumerProcess) -> int:
    """Stop a consumer and count what it has done."""
    assert running.stop() == os.EX_OK
    return sum("Succeeded, ack" in line for line in running.log)
