"""A steady load on a cluster whose nodes are killed: jobs in by one thread, all answers out by another.

Neither is ours: pika, at whichever node lets it in, from the beginning again after every fault. What is not
confirmed in time is published again. The oracle alone judges; `storm` ends with its verdict and with empty queues.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
import pika.exceptions
from cluster_ledger import Ledger
from storm.jobs import Sent
from storm.oracle import Dead, Reply, Verdict
from support.measurements import Tell
from support.processes.commands import environment
from support.processes.consumer_process import ConsumerProcess, gone_afterwards
from support.rabbitmq.cluster import Cluster
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S, wait_until

from consumer.wire.topology import Topology

TOPOLOGY = Topology("classifier", 3)
QUEUES = [queue.name for queue in TOPOLOGY.queues() if queue.name != TOPOLOGY.errors]
PREFETCH = 100
TESTS = Path(__file__).parents[1]
#: After a fault, before the next node is asked; and how often the taker looks whether it is over.
PAUSE_S = 0.1
#: As long as the service waits. RabbitMQ 3.10 may owe a confirm for ever: a leader that was killed and is elected
#: again may not know a channel that first published less than a tick before the kill, and what the channel sent
#: to the dead leader is lost.
CONFIRM_S = 30.0
#: How long the taker waits for a message before it connects again. What RabbitMQ 3.10 sends while a leader is
#: killed may not arrive, and it notices this only with the next message.
QUIET_S = 10.0


class Load:
    """Jobs without end, and their answers.

    Mutable state: `ledger`; `_is_over`, set when nobody listens any more; `_heard_at`, the time of the
    taker's last message.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self.ledger = Ledger()
        self._addresses = [pika.URLParameters(url) for url in urls]
        self._is_over = threading.Event()
        self._heard_at = 0.0
        # Daemons: when a test fails, they may still wait for RabbitMQ.
        self._publisher = threading.Thread(target=self._publish, name="publish", daemon=True)
        self._taker = threading.Thread(target=self._take, name="take", daemon=True)

    @classmethod
    @contextmanager
    def open(cls, urls: Sequence[str]) -> Iterator[Load]:
        """Load the cluster for the block. The queues must be there."""
        load = cls(urls)
        load._publisher.start()
        load._taker.start()
        try:
            yield load
        finally:
            load.ledger.close()
            load._is_over.set()
            load._taker.join(PATIENCE_S)

    def finish(self) -> None:
        """Begin no more jobs; wait until all that were begun are confirmed and answered."""
        self.ledger.close()
        self._publisher.join(PATIENCE_S)
        assert not self._publisher.is_alive(), "RabbitMQ does not confirm a job"
        self.ledger.wait_for_all()

    def _publish(self) -> None:
        job = self.ledger.begin()
        while job is not None:
            with self._faults_pass(), self._connection() as connection:
                channel = connection.channel()
                channel.confirm_delivery()
                while job is not None:
                    publish(connection, channel, job)
                    self.ledger.confirmed(job)
                    job = self.ledger.begin()

    def _take(self) -> None:
        while not self._is_over.is_set():
            with self._faults_pass(), self._connection() as connection:
                channel = connection.channel()
                channel.basic_qos(prefetch_count=PREFETCH)
                tags = [
                    channel.basic_consume(TOPOLOGY.results, self._reply),
                    channel.basic_consume(TOPOLOGY.dead, self._dead_letter),
                ]
                self._heard_at = time.monotonic()
                while not self._is_over.is_set() and time.monotonic() < self._heard_at + QUIET_S:
                    connection.process_data_events(time_limit=PAUSE_S)
                for tag in tags:  # otherwise RabbitMQ's channel would forget the acks that it still holds back
                    channel.basic_cancel(tag)

    def _reply(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:  # noqa: ANN401 - untyped
        self._heard_at = time.monotonic()
        reply = Reply(TOPOLOGY.results, properties.correlation_id, json.loads(body))
        self.ledger.replied(properties.message_id, reply)
        channel.basic_ack(method.delivery_tag)

    def _dead_letter(self, channel: Any, method: Any, properties: Any, _body: bytes) -> None:  # noqa: ANN401
        self._heard_at = time.monotonic()
        self.ledger.died(Dead(properties.message_id, properties.headers["x-death"][0]["reason"]))
        channel.basic_ack(method.delivery_tag)

    def _connection(self) -> Any:  # noqa: ANN401 - untyped
        """Connect to one that lets us in."""
        return pika.BlockingConnection(random.sample(self._addresses, len(self._addresses)))

    @contextmanager
    def _faults_pass(self) -> Iterator[None]:
        """What breaks a connection ends the block, and is what the storm is for."""
        try:
            yield
        except pika.exceptions.AMQPError:
            self._is_over.wait(PAUSE_S)


def publish(connection: Any, channel: Any, job: Sent) -> None:  # noqa: ANN401 - untyped
    """Publish a job; return when RabbitMQ has confirmed it.

    Raises:
        AMQPError: also when the confirm is overdue; then only a new connection can publish.
    """
    job.publishes += 1
    properties = pika.BasicProperties(message_id=job.id, correlation_id=f"for {job.id}", delivery_mode=2)
    # pika has no limit for this wait, and runs the timers of its blocking connection only after it.
    timers = connection._impl.ioloop  # noqa: SLF001
    overdue = timers.call_later(CONFIRM_S, confirm_is_overdue)
    channel.basic_publish("", TOPOLOGY.jobs, job.body, properties, mandatory=True)
    timers.remove_timeout(overdue)


def confirm_is_overdue() -> None:
    raise pika.exceptions.AMQPConnectionError(f"RabbitMQ has not confirmed a job for {CONFIRM_S:g} s")


def storm(cluster: Cluster, vhost: str, folder: Path, between_kills: Sequence[int], tell: Tell) -> Verdict:
    """Kill the leader of the jobs queue after each of so many answers; the last time, another node after it.

    Returns:
        What became of the jobs.
    """
    *before, last = between_kills
    with loaded(cluster, vhost, folder) as (_, ledger):
        for number, answers in enumerate(before, 1):
            ledger.wait_for_answers(answers)
            tell(f"kill {number}: {kill_leader(cluster, vhost, ledger)}")
        ledger.wait_for_answers(last)
        tell(f"majority: {kill_majority(cluster, vhost, ledger)}")
    return ledger.verdict()


@contextmanager
def loaded(cluster: Cluster, vhost: str, folder: Path) -> Iterator[tuple[ConsumerProcess, Ledger]]:
    """A consumer under load, whatever the block does to the cluster. Afterwards every queue is empty.

    RabbitMQ 3.10 may lose an ack with a leader. It gives back what was acked when the channel ends: another
    consumer answers such a job a second time, and a reply or a dead letter must be known.
    """
    urls = cluster.urls(vhost)
    settings = {"classifier": "storm.jobs:classify", "job_dir": folder / "jobs", "pool_size": 2}
    variables = {**environment(" ".join(urls), **settings), "PYTHONPATH": str(TESTS)}
    with gone_afterwards(ConsumerProcess(variables)) as running:
        running.wait_for_event("ready")
        with Load.open(urls) as load, explained(cluster, vhost, running):
            yield running, load.ledger
            load.finish()
            wait_until(lambda: not any(depths(cluster, vhost)), "empty queues")
            assert running.stop() == os.EX_OK
            with gone_afterwards(ConsumerProcess(variables)) as another:
                wait_until(lambda: not any(depths(cluster, vhost)), "empty queues")
                another.wait_for_event("ready")
                assert another.stop() == os.EX_OK
        with Producer(cluster.urls(vhost, *cluster.living)[0]) as producer:
            wait_until(lambda: is_empty_but_for_known(producer, load.ledger), "empty queues")


def is_empty_but_for_known(producer: Producer, ledger: Ledger) -> bool:
    """Take a reply or dead letter that came back; return whether there is nothing else in any queue.

    RabbitMQ 4.3 may still count what was acked last.
    """
    for queue in (TOPOLOGY.results, TOPOLOGY.dead):
        method, properties, _ = producer.channel.basic_get(queue, auto_ack=True)
        if method:
            ledger.see_known(properties.message_id)
            return False
    return not any(producer.depth(queue) for queue in QUEUES)


@contextmanager
def explained(cluster: Cluster, vhost: str, running: ConsumerProcess) -> Iterator[None]:
    """Add the state of the queues and the consumer's last lines to a failure: its folder may be gone later."""
    try:
        yield
    except AssertionError as failed:
        failed.add_note("\n".join((cluster.state(vhost), *map(str.rstrip, running.log[-30:]))))
        raise


def depths(cluster: Cluster, vhost: str) -> list[int]:
    """How many messages are ready in each queue."""
    with Producer(cluster.urls(vhost, *cluster.living)[0]) as producer:
        return [producer.depth(queue) for queue in QUEUES]


def kill_leader(cluster: Cluster, vhost: str, ledger: Ledger) -> str:
    """Kill the leader of the jobs queue and start it again; say how long no new job was answered."""
    leader, recovery = lose_leader(cluster, vhost, ledger)
    recovered = time.monotonic()
    cluster.start(leader)
    back = time.monotonic()
    now = cluster.leader(vhost, TOPOLOGY.jobs)
    return f"{recovery}; the node was back {back - recovered:.2f} s later; now {now} leads"


def lose_leader(cluster: Cluster, vhost: str, ledger: Ledger) -> tuple[str, str]:
    """Kill the leader of the jobs queue; return its name, and how long no new job was answered."""
    leader = cluster.leader(vhost, TOPOLOGY.jobs)
    cluster.kill(leader)
    killed = time.monotonic()
    ledger.wait_for_a_new_job()
    seconds = time.monotonic() - killed
    return leader, f"the leader was {leader}; a job published after that was answered after {seconds:.2f} s"


def kill_majority(cluster: Cluster, vhost: str, ledger: Ledger) -> str:
    """Kill the leader, then another of three; start both; say how long it took until new jobs were answered."""
    leader, recovery = lose_leader(cluster, vhost, ledger)
    [another] = random.sample(cluster.living, 1)
    cluster.kill(another)
    cluster.start(leader, another)
    back = time.monotonic()
    ledger.wait_for_a_new_job()
    seconds = time.monotonic() - back
    return f"{recovery}; then {another}; with both back, a new job was answered {seconds:.2f} s later"
