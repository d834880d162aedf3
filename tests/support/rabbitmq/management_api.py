"""Administers a private node: rabbitmqctl, virtual hosts, and the management API for one of them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from consumer.local_broker.node import Node
from consumer.rabbitmq.management import api
from support.waiting import PATIENCE_S

EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


def rabbitmqctl(node: Node, *args: str) -> str:
    """Run the node's own rabbitmqctl and return its output."""
    command = [str(node.data_dir / "rabbitmqctl"), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


def create_vhost(node: Node, name: str) -> None:
    """Create a vhost with all rights for the node's login."""
    vhost = quote(name, safe="")
    api(node, "PUT", f"vhosts/{vhost}")
    api(node, "PUT", f"permissions/{vhost}/{node.user}", EVERYTHING)


def delete_vhost(node: Node, name: str) -> None:
    """Delete a vhost with its queues, messages and connections."""
    api(node, "DELETE", f"vhosts/{quote(name, safe='')}")


@dataclass(frozen=True)
class Management:
    """The management API, for one vhost."""

    node: Node
    vhost: str

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Query `path`, given without `/api/`. The vhost replaces `{vhost}` in it, as in `queues/{vhost}/jobs`.

        Counts and rates may be a second old.
        """
        vhost = quote(self.vhost, safe="")
        return api(self.node, "GET", path.replace("{vhost}", vhost))
