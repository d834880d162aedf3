"""Three private nodes that are one cluster, and what is done to them: killed, started, asked who leads.

One epmd for all three, started here: it would die with the node that had started it. Killing is SIGKILL and
returns when the process is gone; starting returns when the node is ready and its peers know it. A node keeps its
folder, ports and name. After the block nothing of it runs, whatever was killed or half started.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pika.exceptions

from consumer.errors import BrokerRefusedError, BrokerUnreachableError
from consumer.local_broker import files
from consumer.local_broker import node as local_broker
from consumer.local_broker.files import HOST
from consumer.local_broker.node import Node
from consumer.local_broker.processes import MARK
from consumer.rabbitmq.management import api
from support.rabbitmq.management_api import create_vhost, rabbitmqctl
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S, wait_until

NAMES = ("first", "second", "third")
CONFIG = {
    "cluster_formation.peer_discovery_backend": "classic_config",
    **{f"cluster_formation.classic_config.nodes.{name}": f"{name}@localhost" for name in NAMES},
}
#: Who leads, and who follows, is told every second instead of every five. What was on its way from the retry or to
#: the dead-letter queue when a leader died is sent again after two seconds instead of three minutes.
ADVANCED = "[{rabbit, [{quorum_tick_interval, 1000}, {dead_letter_worker_publisher_confirm_timeout, 2000}]}]."
EPMD_NAMES = b"\x00\x01n"


class Cluster:
    """Mutable state: `nodes`, as they were started last, by name; `_down`, the names of those that were killed."""

    def __init__(self, folder: Path, epmd_port: int) -> None:
        self.nodes: dict[str, Node] = {}
        self._folder = folder
        self._shared = {"password": secrets.token_hex(16), "epmd_port": epmd_port}
        self._files = {"advanced.config": f"{ADVANCED}\n", ".erlang.cookie": files.new_cookie()}
        self._down = set(NAMES)

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Cluster]:
        """Run all three for the block."""
        [epmd_port] = files.free_ports(1)
        with _epmd(epmd_port, folder):
            cluster = cls(folder, epmd_port)
            try:
                cluster.start(*NAMES)
                yield cluster
            finally:
                with ThreadPoolExecutor(len(NAMES)) as threads:
                    list(threads.map(partial(local_broker.down, timeout_s=0), map(cluster._data_dir, NAMES)))

    @property
    def living(self) -> list[str]:
        return [name for name in NAMES if name not in self._down]

    @property
    def living_node(self) -> Node:
        """One that can be asked."""
        return self.nodes[self.living[0]]

    def start(self, *names: str) -> None:
        """Start these at once, and wait until all that live are one cluster."""
        with ThreadPoolExecutor(len(NAMES)) as threads:
            self.nodes |= dict(zip(names, threads.map(self._up, names), strict=True))
        self._down -= set(names)
        wait_until(self._is_whole, f"{', '.join(self.living)} to be one cluster")

    def kill(self, *names: str) -> None:
        """SIGKILL these, all before the first is reaped."""
        self._down |= set(names)
        for name in names:
            os.kill(self.nodes[name].pid, signal.SIGKILL)
        for name in names:
            os.waitpid(self.nodes[name].pid, 0)

    def add_vhost(self, name: str) -> None:
        """Make one for a test. It stays: RabbitMQ 3.10 does not bear that one is deleted just after a start."""
        # rabbitmqctl waits until all nodes have it. The management API's client gives up after 10 s, and a cluster
        # that has just been formed may take longer.
        rabbitmqctl(self.living_node, "add_vhost", name)
        create_vhost(self.living_node, name)
        wait_until(lambda: all(map(_takes_queues, self.urls(name, *self.living))), f"queues to be made in {name}")

    def urls(self, vhost: str, *names: str) -> list[str]:
        """AMQP URLs of a vhost at these nodes, or at all."""
        return [self.nodes[name].vhost_url(vhost) for name in names or NAMES]

    def name_at(self, address: str) -> str:
        """Tell which node an AMQP address belongs to."""
        return next(name for name, node in self.nodes.items() if f":{node.amqp_port}" in address)

    def leader(self, vhost: str, queue: str) -> str:
        """The node that leads a quorum queue, when that is known and all members of the queue are there."""
        wait_until(lambda: self._leader(vhost, queue), f"a leader and all members of {queue}")
        return self._leader(vhost, queue)

    def _leader(self, vhost: str, queue: str) -> str:
        """Its name, or nothing while an election goes on or a member is missing."""
        told = self._ask(f"queues/{quote(vhost, safe='')}/{queue}")
        leader = _name(told.get("leader", ""))
        is_complete = len(told.get("online", ())) == len(NAMES)
        return leader if is_complete and leader in self.living else ""

    def _is_whole(self) -> bool:
        known = [self._ask("nodes", node) or [] for node in map(self.nodes.__getitem__, self.living)]
        return all({_name(node["name"]) for node in told if node["running"]} == set(self.living) for told in known)

    def _ask(self, path: str, node: Node | None = None) -> Any:  # noqa: ANN401 - JSON
        """What the management API says, or nothing where it cannot say it now."""
        with suppress(BrokerRefusedError, BrokerUnreachableError):
            return api(node or self.living_node, "GET", path)
        return {}

    def _up(self, name: str) -> Node:
        known = {**self._shared, "nodename": f"{name}@localhost"}
        return local_broker.up(self._data_dir(name), config=CONFIG, more=self._files, known=known)

    def _data_dir(self, name: str) -> Path:
        return self._folder / name


def _takes_queues(url: str) -> bool:
    """For a moment after nodes have come back RabbitMQ 3.10 answers INTERNAL_ERROR to who declares a queue."""
    with suppress(pika.exceptions.AMQPError), Producer(url) as producer:
        for kind in ("quorum", "stream"):
            producer.channel.queue_declare("probe", durable=True, arguments={"x-queue-type": kind})
            producer.channel.queue_delete("probe")
        return True
    return False


def _name(nodename: str) -> str:
    return nodename.partition("@")[0]


@contextmanager
def _epmd(port: int, folder: Path) -> Iterator[None]:
    """A port mapper on the loopback address; it forgets a node that is killed, and is not forgotten itself."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "ERL_EPMD_ADDRESS": HOST, MARK: str(folder)}
    with subprocess.Popen(["epmd", "-port", str(port)], env=environment) as epmd:
        try:
            # A node that finds none starts its own.
            wait_until(lambda: _answers(port), "epmd")
            yield
        finally:
            epmd.kill()


def _answers(port: int) -> bool:
    """Ask epmd which names it knows."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=PATIENCE_S) as connection:
        connection.sendall(EPMD_NAMES)
        return bool(connection.recv(4))
    return False
