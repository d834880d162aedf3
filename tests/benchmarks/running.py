"""A contender at work: started, loaded, verified and ended, whatever happens in between.

Its start-up is the time from its launch to its first reply, with a job waiting in the queue and queues declared.
What it prints goes to a file. Every reply is compared with the label of the in-process loop.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import measure
from amqp_socket import Connection
from contender import FEW_IN_FLIGHT, Contender, Site
from load import Load, Run
from plan import Plan, until
from results import Sample
from support.rabbitmq.management_api import create_vhost, delete_vhost
from workload import Workload

from consumer.local_broker.node import Node

#: Longest wait for any reply; a start under load included.
PATIENCE_S = 60.0
#: Enough for every worker to have had its share.
WARM_UP_JOBS, WARM_UP_S = 200, 1.0
#: With one in flight: whichever is reached first. Of 200 jobs, the p99 is the third slowest: for one and the same
#: service, the ratio of two such figures (medians of three turns) was between 0.7 and 1.4 in eight of ten cases.
ALONE_JOBS, ALONE_S = 1000, 2.0
#: More jobs than any burst has.
MANY_JOBS = 1_000_000


class VerificationError(Exception):
    """A reply is not what it should be."""


@dataclass(frozen=True)
class Host:
    """What all contenders share: the RabbitMQ node, the folder for their output, and how much is measured."""

    node: Node
    logs: Path
    plan: Plan


class Running:
    """One contender with its load."""

    def __init__(self, contender: Contender, site: Site, load: Load, host: Host) -> None:
        self._contender = contender
        self._site = site
        self._load = load
        self._broker_pid = host.node.pid
        self._burst_s = host.plan.burst_s
        self.log = host.logs / f"{site.workload.name}-{contender.key}-{site.slots}.log"
        self._begun = time.perf_counter()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                contender.command(site),
                env=contender.environment(site),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=host.logs,
            )

    def warm_up(self) -> float:
        """Wait until it works, and let each worker have worked; return the seconds until its first reply."""
        self.run(1, 1)
        start_s = time.perf_counter() - self._begun
        if self._contender.in_flight > FEW_IN_FLIGHT:
            self.run(WARM_UP_JOBS, self._contender.in_flight, until(WARM_UP_S))
        return start_s

    def sample(self) -> Sample:
        """Take one turn."""
        alone = self.run(ALONE_JOBS, 1, until(ALONE_S))
        broker, tree = measure.own_cpu_s(self._broker_pid), measure.tree_cpu_s(self.process.pid)
        many = self.run(MANY_JOBS, self._contender.in_flight, until(self._burst_s))
        tree = measure.tree_cpu_s(self.process.pid) - tree
        broker = measure.own_cpu_s(self._broker_pid) - broker
        jobs = len(many.replies)
        return {
            "jobs_per_s": many.jobs_per_s,
            "alone_p50_ms": alone.latency_ms(0.5),
            "alone_p99_ms": alone.latency_ms(0.99),
            "saturated_p50_ms": many.latency_ms(0.5),
            "saturated_p99_ms": many.latency_ms(0.99),
            "cpu_ms": tree / jobs * 1000,
            "broker_cpu_ms": broker / jobs * 1000,
            "generator_cpu_ms": many.cpu_s / jobs * 1000,
        }

    def memory_mb(self) -> float:
        """What its tree takes now."""
        return measure.tree_pss_mb(self.process.pid)

    def run(self, jobs: int, in_flight: int, enough: Callable[[], bool] = lambda: False) -> Run:
        """Send so many jobs, or until it is `enough`, and verify their replies.

        Raises:
            VerificationError: one is not right.
            TimeoutError: none came any more.
        """
        done = self._load.run(jobs, in_flight, enough)
        for reply in done.replies:
            self._verify(reply.message, reply.body)
        return done

    def _verify(self, message: int, body: bytes) -> None:
        try:
            label = self._contender.label(json.loads(body))
        except (ValueError, KeyError, TypeError):
            raise VerificationError(f"not a success: {body[:500]!r}") from None
        expected = self._site.workload.labels[message]
        if label != expected:
            raise VerificationError(f"signal {message} was called {label}, in process {expected}")

    def last_words(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-1000:]


@contextmanager
def vhost(node: Node) -> Iterator[str]:
    """A virtual host, by its URL, that lives for the block."""
    name = f"bench-{token_hex(4)}"
    create_vhost(node, name)
    try:
        yield node.vhost_url(name)
    finally:
        delete_vhost(node, name)


@contextmanager
def started(contender: Contender, workload: Workload, host: Host, slots: int) -> Iterator[Running]:
    """Start a contender in a virtual host of its own; both are gone after the block."""
    with vhost(host.node) as url, closing(Connection(url, PATIENCE_S)) as connection:
        connection.declare(contender.queue, contender.queue_arguments)
        site = Site(workload, url, connection.replies, slots)
        load = Load(connection, [contender.message(job, site) for job in workload.jobs])
        running = Running(contender, site, load, host)
        try:
            yield running
        finally:
            measure.stop(running.process)
