"""A cluster of three private RabbitMQ nodes, which tests kill, start, and query for the leader of a queue.

This module starts one epmd for all three nodes, because an epmd that a node starts would end with that node.
`kill` returns when the processes have ended; `start` returns when the nodes are ready and know each other. A node
keeps its folder, ports and name. After the block, all processes have ended.
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
from consumer.local_broker import files, server_files
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
#: Nodes exchange the state of queues, such as the leader, every second instead of every five. A message that was
#: being dead-lettered when a leader died is sent again after two seconds instead of three minutes.
ADVANCED = "[{rabbit, [{quorum_tick_interval, 1000}, {dead_letter_worker_publisher_confirm_timeout, 2000}]}]."
EPMD_NAMES = b"\x00\x01n"


class Cluster:
    """The cluster. Mutable state: `nodes`, as started last, by name; `_down`, the names of the killed nodes."""

    def __init__(self, folder: Path, epmd_port: int) -> None:
        self.nodes: dict[str, Node] = {}
        self._folder = folder
        self._shared = {"password": secrets.token_hex(16), "epmd_port": epmd_port}
        self._files = {"advanced.config": f"{ADVANCED}\n", ".erlang.cookie": server_files.new_cookie()}
        self._down = set(NAMES)

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Cluster]:
        """Run all three nodes during the block."""
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
        """A running node."""
        return self.nodes[self.living[0]]

    def start(self, *names: str) -> None:
        """Start these nodes at the same time, and wait until all running nodes form one cluster."""
        with ThreadPoolExecutor(len(NAMES)) as threads:
            self.nodes |= dict(zip(names, threads.map(self._up, names), strict=True))
        self._down -= set(names)
        wait_until(self._is_whole, f"{', '.join(self.living)} to be one cluster")

    def kill(self, *names: str) -> None:
        """Send SIGKILL to these nodes, and then reap them."""
        self._down |= set(names)
        for name in names:
            os.kill(self.nodes[name].pid, signal.SIGKILL)
        for name in names:
            os.waitpid(self.nodes[name].pid, 0)

    def add_vhost(self, name: str) -> None:
        """Create a vhost. It is not deleted later: RabbitMQ 3.10 fails if one is deleted just after a start."""
        # rabbitmqctl waits until all nodes have the vhost. The management API's client gives up after 10 s, and a
        # new cluster may take longer.
        rabbitmqctl(self.living_node, "add_vhost", name)
        create_vhost(self.living_node, name)
        wait_until(lambda: all(map(_takes_queues, self.urls(name, *self.living))), f"queues to be made in {name}")

    def urls(self, vhost: str, *names: str) -> list[str]:
        """Return the AMQP URLs of a vhost at these nodes, by default at all nodes."""
        return [self.nodes[name].vhost_url(vhost) for name in names or NAMES]

    def name_at(self, address: str) -> str:
        """Return the name of the node with this AMQP address."""
        return next(name for name, node in self.nodes.items() if f":{node.amqp_port}" in address)

    def leader(self, vhost: str, queue: str) -> str:
        """Wait until a quorum queue has a leader and all its members are online; return the leader's name."""
        wait_until(lambda: self._leader(vhost, queue), f"a leader and all members of {queue}")
        return self._leader(vhost, queue)

    def _leader(self, vhost: str, queue: str) -> str:
        """Return the leader's name; empty during an election, or while a member is offline."""
        told = self._ask(f"queues/{quote(vhost, safe='')}/{queue}")
        leader = _name(told.get("leader", ""))
        is_complete = len(told.get("online", ())) == len(NAMES)
        return leader if is_complete and leader in self.living else ""

    def state(self, vhost: str) -> str:
        """Describe the queues of a vhost for the report of a failed test: a line for each."""
        facts = ("name", "leader", "online", "messages_ready", "messages_unacknowledged", "consumers", "state")
        queues = self._ask(f"queues/{quote(vhost, safe='')}") or []
        return "\n".join(str({fact: queue.get(fact) for fact in facts}) for queue in queues)

    def _is_whole(self) -> bool:
        known = [self._ask("nodes", node) or [] for node in map(self.nodes.__getitem__, self.living)]
        return all({_name(node["name"]) for node in told if node["running"]} == set(self.living) for told in known)

    def _ask(self, path: str, node: Node | None = None) -> Any:  # noqa: ANN401 - JSON
        """Query the management API; return an empty dict if it cannot answer now."""
        with suppress(BrokerRefusedError, BrokerUnreachableError):
            return api(node or self.living_node, "GET", path)
        return {}

    def _up(self, name: str) -> Node:
        known = {**self._shared, "nodename": f"{name}@localhost"}
        return local_broker.up(self._data_dir(name), config=CONFIG, more=self._files, known=known)

    def _data_dir(self, name: str) -> Path:
        return self._folder / name


def _takes_queues(url: str) -> bool:
    """Return whether queues can be declared. Just after a start of nodes, RabbitMQ 3.10 answers INTERNAL_ERROR."""
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
    """Run epmd on the loopback address during the block."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "ERL_EPMD_ADDRESS": HOST, MARK: str(folder)}
    with subprocess.Popen(["epmd", "-port", str(port)], env=environment) as epmd:
        try:
            # A node that finds no epmd would start its own.
            wait_until(lambda: _answers(port), "epmd")
            yield
        finally:
            epmd.kill()


def _answers(port: int) -> bool:
    """Return whether epmd answers a request for its names."""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=PATIENCE_S) as connection:
        connection.sendall(EPMD_NAMES)
        return bool(connection.recv(4))
    return False
