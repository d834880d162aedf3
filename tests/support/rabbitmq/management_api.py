"""What RabbitMQ's management API says about one test's vhost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from consumer.local_broker.node import Node
from consumer.rabbitmq.management import api


@dataclass(frozen=True)
class Management:
    """The management API, for one vhost."""

    node: Node
    vhost: str

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Ask for `path` without `/api/`; `{vhost}` in it becomes the vhost: `queues/{vhost}/jobs`.

        Counts and rates are up to a second old.
        """
        vhost = quote(self.vhost, safe="")
        return api(self.node, "GET", path.replace("{vhost}", vhost))
