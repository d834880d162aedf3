"""One storm from the first process to the last: what it is made of, how it blows, what is left when it is over.

Puts the parts together and measures; whether that is as it should be is the test's to say.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from support.processes.commands import environment
from support.rabbitmq.producer import Producer
from support.waiting import wait_until

from consumer.dead_letters.error_records import read_error_records
from consumer.local_broker import node as local_broker
from consumer.rabbitmq.management import api
from consumer.rabbitmq.session import Session
from consumer.wire.topology import Topology
from storm import jobs
from storm.amqp_proxy import AmqpProxy
from storm.faults import Lane, Network, Processes, Rabbit
from storm.jobs import ANSWERS, RESULTS, Sent
from storm.oracle import Dead, Reply, judge
from storm.probes import Probes
from storm.supply import Supply, drain
from storm.units import Unit

TOPOLOGY = Topology("classifier", 3)
JOBS_PER_S = 25
SLOTS = 2
#: After the storm: for the last retry's delay, for what waits behind it, and for the three minutes in which a copy
#: may be on its way from a retry queue whose leader was lost.
CALM_S = 240.0
SAMPLE_S = 1.0
#: For a second after a start, RabbitMQ knows of queues but not of what they hold.
NOT_YET = {"name": TOPOLOGY.jobs, "messages": 1, "messages_unacknowledged": 1, "messages_ready": 0}
TESTS = Path(__file__).parents[1]
#: A mount namespace of its own: the disk ends with the process, and no rights are needed where users may have one.
UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")
SMALL_DISK = (*UNSHARE, "sh", "-c", 'mount -t tmpfs -o size=16m storm "$0" && exec "$@"')


@dataclass(frozen=True)
class Sample:
    """What the witness held at one moment."""

    resident_bytes: int
    descriptors: int


def growth(samples: Sequence[Sample]) -> float:
    """Compare what is resident in the last fifth with the second: the first fills caches and learns."""
    fifth = max(len(samples) // 5, 1)
    return _resident(samples[-fifth:]) / _resident(samples[fifth : 2 * fifth])


def _resident(samples: Sequence[Sample]) -> float:
    return median(sample.resident_bytes for sample in samples)


@dataclass
class Aftermath:
    """What the storm has left, for the oracle and for people.

    `samples`: from before it to after it. `codes`: how each consumer's lives ended.
    `probes`: what the witness said of its health all the time. `witness`: how many jobs it received, of them how
    many ahead of its slots, and how many it returned.
    """

    sent: list[Sent]
    faults: Counter[str]
    samples: list[Sample]
    probes: Probes
    witness: dict[str, int]
    codes: dict[str, Counter[int]] = field(default_factory=dict)
    recoveries: list[float] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    recorded: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Storm:
    """A node, consumers behind a proxy each, and the producer. The consumer `witness` is never ended."""

    rabbit: Rabbit
    proxies: list[AmqpProxy]
    units: list[Unit]
    witness: Unit
    disk: Path | None

    def blow(self, seconds: float, seed: int) -> Aftermath:
        """Let it blow, then calm down; all consumers are gone at the end, with what they held in the queues."""
        url = self.rabbit.node.amqp_url
        supply = Supply(f"{url}/%2F?heartbeat=4", TOPOLOGY.jobs, seed=seed, jobs_per_s=JOBS_PER_S)
        lanes = self._lanes(seed)
        probes = Probes(self.witness, self.proxies[self.units.index(self.witness)])
        with probes:
            with supply, ExitStack() as blowing:
                for lane in lanes:
                    blowing.enter_context(lane)
                samples = self._watch(seconds)
            faults = sum((lane.made for lane in lanes), Counter[str]())
            wait_until(self._is_calm, "all queues to be empty and nothing unacked", CALM_S)
            wait_until(probes.is_ready, "the witness to be ready", CALM_S)
        # A run goes on when its connection is lost, and may end after somebody else has answered the same job.
        wait_until(lambda: not self._files(), "the witness to have removed all files of its jobs", CALM_S)
        samples.append(self._sample())
        left = Aftermath(supply.sent, faults, samples, probes, probes.numbers("ahead", "returned", "received"))
        self._collect_ends(left)
        for unit in self.units:
            unit.stop()
        left.codes = {unit.name: Counter(unit.codes) for unit in self.units}
        left.recoveries = [seconds for unit in self.units for seconds in unit.recoveries()]
        self._collect(left)
        return left

    def _collect_ends(self, left: Aftermath) -> None:
        """Collect until every job has ended, or patience is over: what is missing then is lost for the oracle.

        RabbitMQ's counts do not tell: they are a second old, older after a freeze, and leave out a copy that is on
        its way from a retry queue to the jobs.
        """
        deadline = time.monotonic() + CALM_S
        self._collect(left)
        while judge(left.sent, left.replies, left.dead, left.recorded).lost and time.monotonic() < deadline:
            time.sleep(SAMPLE_S)
            self._collect(left)

    def _lanes(self, seed: int) -> list[Lane]:
        mortal = [unit for unit in self.units if unit is not self.witness]
        processes = Processes(mortal, self.witness, self.disk)
        return [self.rabbit.lane(seed), Network(self.proxies).lane(seed), processes.lane(seed)]

    def _watch(self, seconds: float) -> list[Sample]:
        samples = [self._sample()]
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, SAMPLE_S))
            samples.append(self._sample())
        return samples

    def _sample(self) -> Sample:
        return Sample(self.witness.resident_bytes(), self.witness.descriptors())

    def _is_calm(self) -> bool:
        return not any(
            queue["messages_unacknowledged"] or queue["messages_ready"]
            for queue in self.queues()
            if queue["name"] == TOPOLOGY.jobs or ".retry." in queue["name"]
        )

    def is_empty(self) -> bool:
        """Whether RabbitMQ holds no message, ready or unacked, but in the stream, which reading does not empty."""
        return not any(queue["messages"] for queue in self.queues() if queue["name"] != TOPOLOGY.errors)

    def queues(self) -> list[dict[str, Any]]:
        """Ask RabbitMQ for all queues with their counts, which are up to a second old."""
        found: list[dict[str, Any]] = api(self.rabbit.node, "GET", "queues")
        return found if all("messages_unacknowledged" in queue for queue in found) else [NOT_YET]

    def _files(self) -> list[str]:
        """List the files on the witness's disk, which ends with it."""
        return [path.name for path in self.disk.rglob("*") if not path.is_dir()] if self.disk else []

    def _collect(self, left: Aftermath) -> None:
        url = self.rabbit.node.amqp_url
        for queue in (RESULTS, ANSWERS):
            for properties, body in drain(url, queue):
                left.replies.append(Reply(queue, properties.correlation_id, json.loads(body)))
        for properties, _ in drain(url, TOPOLOGY.dead):
            left.dead.append(Dead(properties.message_id, properties.headers["x-death"][0]["reason"]))
        for record in asyncio.run(read_error_records(url, TOPOLOGY)):
            left.recorded[record.job_id] = record.code


@contextmanager
def gathered(folder: Path) -> Iterator[Storm]:
    """Start all that a storm needs; end all of it afterwards. The names of all its files begin with `folder`."""
    with ExitStack() as stack:
        stack.callback(local_broker.down, folder / "rabbitmq", timeout_s=0)
        rabbit = Rabbit(folder / "rabbitmq")
        _make_queues(rabbit)
        disk = _small_disk(folder / "disk")

        def unit(name: str, job_dir: Path, wrapper: Sequence[str] = (), **settings: object) -> Unit:
            proxy = stack.enter_context(AmqpProxy.open(rabbit.node.amqp_port))
            proxies.append(proxy)
            url = proxy.url(f"{rabbit.node.amqp_url}/%2F", query="heartbeat=1")
            return stack.enter_context(Unit(name, _environment(url, job_dir=job_dir, **settings), folder, wrapper))

        proxies: list[AmqpProxy] = []
        warm = {"classifier": "storm.jobs:classify"}
        program = {"command": json.dumps([sys.executable, "-S", jobs.__file__])}
        on_disk = (*SMALL_DISK, str(folder / "disk")) if disk else ()
        witness = unit("witness", folder / "disk", on_disk, **warm, http_port=0)
        units = [witness, unit("warm", folder / "jobs", **warm), unit("program", folder / "jobs", **program)]
        wait_until(lambda: all(unit.events("ready") for unit in units), "all to take jobs")
        yield Storm(rabbit, proxies, units, witness, witness.inside(folder / "disk") if disk else None)


def _make_queues(rabbit: Rabbit) -> None:
    """Declare all queues, and let RabbitMQ write down that it has them.

    RabbitMQ 3.10 registers a quorum queue or a stream in a file that it saves half a second later at the earliest.
    Of one that was declared just before a SIGKILL it knows the name only: it takes messages and confirms none.
    """

    async def declare() -> None:
        async with Session.open(rabbit.node.amqp_url, name="storm") as session:
            await session.admin.declare(TOPOLOGY)

    asyncio.run(declare())
    with Producer(rabbit.node.amqp_url) as producer:
        producer.channel.queue_declare(ANSWERS, durable=True, arguments={"x-queue-type": "quorum"})
    rabbit.stop_and_start()


def _small_disk(folder: Path) -> bool:
    """Make the mount point; tell whether this machine lets us mount anything there, if only for a process."""
    folder.mkdir()
    return subprocess.run([*SMALL_DISK, folder, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


def _environment(url: str, **settings: object) -> dict[str, str]:
    chosen = {"pool_size": SLOTS, "max_attempts": TOPOLOGY.max_attempts, "job_timeout_s": 20}
    return {**environment(url, **chosen, **settings), "PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
