"""A contender at work: started, loaded, verified and ended, whatever happens in between.

Its start-up is the time from its launch to its first reply, with a job waiting in the queue and queues declared.
What it prints goes to a file. Every reply is compared with the label of the in-process loop.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import measure
from amqp_socket import Connection
from contender import Contender, Site
from load import IN_FLIGHT, Load, Run
from plan import Plan
from results import Row, Sample
from workload import Workload

from consumer.local_broker.node import Node
from consumer.rabbitmq.management import create_vhost, delete_vhost

#: Longest wait for any reply; a start under load included.
PATIENCE_S = 60.0
#: Enough for every worker to have had its share, and to see how fast it is.
WARM_UP_JOBS = 100
ALONE_JOBS = 60
#: A program per job takes seconds: a few jobs must do.
SLOW_ALONE_JOBS, SLOW_JOBS = 1, 4


class VerificationError(Exception):
    """A reply is not what it should be."""


@dataclass(frozen=True)
class Host:
    """What all contenders share: the RabbitMQ node, the folder for their output, and how much is measured."""

    node: Node
    logs: Path
    plan: Plan


class Running:
    """One contender with its load.

    Mutable state: `_jobs`, the size of the next burst, so that it takes about `burst_s`.
    """

    def __init__(self, contender: Contender, site: Site, load: Load, host: Host) -> None:
        self._contender = contender
        self._site = site
        self._load = load
        self._broker_pid = host.node.pid
        self.log = host.logs / f"{site.workload.name}-{contender.key}-{site.slots}.log"
        self._burst_s = host.plan.burst_s
        self._jobs = SLOW_JOBS
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

    def first_reply(self, row: Row) -> None:
        """Wait until it works."""
        self.run(row, 1, 1)
        row.start_s.append(time.perf_counter() - self._begun)

    def warm_up(self, row: Row) -> None:
        """Let each worker have worked."""
        if not self._contender.slow:
            self._size(self.run(row, WARM_UP_JOBS, IN_FLIGHT))

    def _size(self, last: Run) -> None:
        self._jobs = max(int(last.jobs_per_s * self._burst_s), IN_FLIGHT)

    def sample(self, row: Row, turn: int) -> None:
        """Take one turn."""
        slow = self._contender.slow
        alone = self.run(row, SLOW_ALONE_JOBS if slow else ALONE_JOBS, 1)
        broker, tree = measure.own_cpu_s(self._broker_pid), measure.tree_cpu_s(self.process.pid)
        many = self.run(row, self._jobs, IN_FLIGHT)
        tree = measure.tree_cpu_s(self.process.pid) - tree
        broker = measure.own_cpu_s(self._broker_pid) - broker
        row.samples.append(
            Sample(
                turn=turn,
                jobs_per_s=many.jobs_per_s,
                alone_p50_ms=alone.latency_ms(0.5),
                alone_p99_ms=alone.latency_ms(0.99),
                saturated_p50_ms=many.latency_ms(0.5),
                saturated_p99_ms=many.latency_ms(0.99),
                cpu_ms=tree / self._jobs * 1000,
                broker_cpu_ms=broker / self._jobs * 1000,
                generator_cpu_ms=many.cpu_s / self._jobs * 1000,
            )
        )
        if not slow:
            self._size(many)

    def finish(self, row: Row) -> None:
        """Send the signals that have not had their turn, and note the memory."""
        if missing := len(self._site.workload.jobs) - len(row.signals):
            self.run(row, missing, IN_FLIGHT)
        self.memory(row)

    def memory(self, row: Row) -> None:
        """Note what its tree takes now."""
        row.pss_mb.setdefault(self._site.slots, []).append(measure.tree_pss_mb(self.process.pid))

    def run(self, row: Row, jobs: int, in_flight: int, enough: Callable[[], bool] = lambda: False) -> Run:
        """Send so many jobs, or until it is `enough`, and verify their replies.

        Raises:
            VerificationError: one is not right.
            TimeoutError: none came any more.
        """
        done = self._load.run(jobs, in_flight, enough)
        for reply in done.replies:
            self._verify(reply.message, reply.body)
        row.verified += len(done.replies)
        row.signals.update(reply.message for reply in done.replies)
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
def started(contender: Contender, workload: Workload, host: Host, url: str, slots: int) -> Iterator[Running]:
    """Start a contender in a virtual host; it is gone after the block."""
    connection = Connection(url, PATIENCE_S)
    try:
        connection.declare(contender.queue, contender.queue_arguments)
        site = Site(workload, url, connection.replies, slots)
        load = Load(connection, [contender.message(job, site) for job in workload.jobs])
        running = Running(contender, site, load, host)
        try:
            yield running
        finally:
            measure.stop(running.process)
    finally:
        connection.close()
