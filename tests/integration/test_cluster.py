"""Each fault that only a cluster has, made on purpose with SIGKILL: no job is lost, and jobs are taken again.

Three nodes for all tests here, whole again after each. Times are printed, not asserted. `make soak` kills the
leader more often; CLUSTER_SEED repeats the load between the kills of an earlier run.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from cluster_storm import TOPOLOGY, storm
from support.measurements import Tell
from support.processes.consumer_process import consumer
from support.processes.shell_classifiers import HELD, script
from support.rabbitmq.cluster import NAMES, Cluster
from support.rabbitmq.producer import Producer
from support.soak import often

JOBS, RESULTS, DEAD = TOPOLOGY.jobs, TOPOLOGY.results, TOPOLOGY.dead
KILLS = often(1, in_soak=5)
SEED = int(os.environ.get("CLUSTER_SEED", "0")) or secrets.randbelow(1_000_000)
#: Jobs answered between two kills: the seed chooses. More than are on their way at once.
BETWEEN_KILLS = (50, often(100, in_soak=200))


@pytest.fixture
def vhost(cluster: Cluster) -> Iterator[str]:
    """A vhost of the test's own; all nodes are there again afterwards, also when the test fails."""
    name = f"test-{uuid4().hex[:12]}"
    cluster.add_vhost(name)
    yield name
    cluster.start(*set(NAMES) - set(cluster.living))


def declare_at(url: str, folder: Path) -> None:
    """Have the queues made by a consumer at this node, which leads them then."""
    with consumer(url, command=script(folder, *HELD)) as running:
        assert running.stop() == os.EX_OK


def is_answered_once(producer: Producer, job_id: str) -> None:
    """The one answer is there, and nothing else of the job."""
    reply = producer.take(RESULTS).json
    assert (reply["job_id"], reply["status"], reply["attempt"]) == (job_id, "succeeded", 1)
    assert [producer.depth(queue) for queue in (RESULTS, DEAD, JOBS)] == [0, 0, 0]


@pytest.mark.soak
def test_quorum_leader_lost_and_then_the_majority(
    cluster: Cluster, vhost: str, tmp_path: Path, tell: Tell
) -> None:
    tell(f"{KILLS} kills, CLUSTER_SEED={SEED}")
    chance = random.Random(SEED)  # noqa: S311 - to be repeated
    answers = [chance.randint(*BETWEEN_KILLS) for _ in range(KILLS)]
    verdict = storm(cluster, vhost, tmp_path, answers, tell)
    tell(f"quorum leader lost, majority lost: {verdict}")
    assert verdict.sent
    assert not verdict.lost
    assert not verdict.wrong
    assert not verdict.victims


def test_quorum_leader_lost_at_another_node_leaves_the_consumer_where_it_is(
    cluster: Cluster, vhost: str, tmp_path: Path
) -> None:
    """A pause, and a late confirm; nothing is run twice. By this connection the results queue was met before."""
    leads, *others = NAMES
    declare_at(cluster.urls(vhost, leads)[0], tmp_path)
    urls = cluster.urls(vhost, *others)
    go = tmp_path / "go"
    with consumer(" ".join(urls), command=script(tmp_path, *HELD)) as running, Producer(urls[0]) as producer:
        go.touch()
        producer.publish(JOBS, b"{}", message_id="before")
        is_answered_once(producer, "before")
        go.unlink()
        producer.publish(JOBS, b"{}", message_id="m1")
        running.wait_for_event("job_log", "begun", job_id="m1")
        assert cluster.leader(vhost, JOBS) == leads
        cluster.kill(leads)
        go.touch()
        running.wait_for_event("job_settled", job_id="m1", outcome="Succeeded", settlement="ack")
        is_answered_once(producer, "m1")
        assert running.stop() == os.EX_OK
        assert not running.events("connection_lost")
    cluster.start(leads)
    assert (tmp_path / "runs").read_text() == "run\n" * 2


def test_no_majority(cluster: Cluster, vhost: str, tmp_path: Path, tell: Tell) -> None:
    """Two of three are gone, the one that we are connected to among them: we say so, stay, and come back."""
    command = script(tmp_path, *HELD)
    with consumer(" ".join(cluster.urls(vhost)), command=command) as running:
        ours = cluster.name_at(running.log[-1])
        another, stays = (name for name in NAMES if name != ours)
        with Producer(cluster.urls(vhost, stays)[0]) as producer:
            producer.publish(JOBS, b"{}", message_id="m1")
            running.wait_for_event("job_log", "begun")
            cluster.kill(ours, another)
            running.wait_for_event("connection_lost")
            (tmp_path / "go").touch()
            running.wait_for_event("job_not_settled", job_id="m1")
            running.wait_for_event("reconnect_failed", error="BrokerUnreachableError")
            assert running.process.poll() is None
            cluster.start(ours, another)
            again = running.wait_for_event("reconnected").text.strip()
            tell(f"no majority: {again[again.index('taking') :]}")
            running.wait_for_event("job_settled", settlement="ack")
            is_answered_once(producer, "m1")
        assert running.stop() == os.EX_OK
    assert (tmp_path / "runs").read_text() == "run\n"


def test_classic_queues_node_down(cluster: Cluster, vhost: str, tmp_path: Path) -> None:
    """RabbitMQ cancels the consumer, and has no such queue until the node is back, with its messages.

    Asked for it meanwhile, RabbitMQ says so up to 4.2, and does not answer from 4.3 on.
    """
    home, *others = NAMES
    urls = cluster.urls(vhost, *others)
    declare_at(urls[0], tmp_path)
    make_classic(cluster.urls(vhost, home)[0])
    command = script(tmp_path, *HELD)
    with (
        Producer(urls[0]) as producer,
        consumer(" ".join(urls), command=command, declare="false") as running,
    ):
        producer.publish(JOBS, b"{}", message_id="m1")
        running.wait_for_event("job_log", "begun")
        cluster.kill(home)
        running.wait_for_event("connection_lost", JOBS)
        (tmp_path / "go").touch()
        running.wait_for_event("reconnect_failed")  # that attempt has failed, whatever the reason
        cluster.start(home)
        running.wait_for_event("reconnected")
        running.wait_for_event("job_settled", settlement="ack")
        is_answered_once(producer, "m1")
        assert running.stop() == os.EX_OK
    assert (tmp_path / "runs").read_text() == "run\n"


def make_classic(url: str) -> None:
    """Make the jobs queue a classic one, at the node of this URL."""
    arguments = {"x-dead-letter-exchange": TOPOLOGY.dead_letter_exchange}
    with Producer(url) as producer:
        producer.channel.queue_delete(JOBS)
        producer.channel.queue_declare(JOBS, durable=True, arguments=arguments)
