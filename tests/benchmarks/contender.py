"""What a contender is: what to start, in which environment, how a job's message looks, where its answer is.

All get the same jobs, the same function by the same import, the same number of slots, one thread in numerical
libraries, and a quorum queue of persistent messages. A contender that cannot run here says why instead. The
contenders themselves are in ours.py and peers.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amqp_socket import ID_PLACEHOLDER, encode
from inside import JOBS_QUEUE, ONE_THREAD
from load import IN_FLIGHT
from pamqp.commands import Basic
from workload import Job, Workload

from consumer.wire.topology import Arguments

HERE = Path(__file__).parent
#: For what starts a program for each job: a handful of jobs, as each takes a second.
FEW_IN_FLIGHT = 4


@dataclass(frozen=True)
class Site:
    """Where a contender works: RabbitMQ's URL, the queue of the replies, and how many jobs at once."""

    workload: Workload
    url: str
    replies: str
    slots: int


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One row of the table.

    Attributes:
        key: its name in results; unique.
        title: its name for people.
        missing: why it cannot run here; None if it can.
        command: what to start for a site.
        settings: its environment, beside what all get.
        envelope: body and properties of a job's message.
        label: the label in a reply; raises KeyError where the reply is not a success.
        in_flight: how many jobs at saturation.
    """

    key: str
    title: str
    missing: Callable[[Workload], str | None]
    command: Callable[[Site], list[str]]
    settings: Callable[[Site], Mapping[str, str]]
    envelope: Callable[[Job, Site], tuple[object, Basic.Properties]]
    label: Callable[[Any], str]
    queue: str = JOBS_QUEUE
    queue_arguments: Arguments = field(default_factory=lambda: {"x-queue-type": "quorum"})
    in_flight: int = IN_FLIGHT

    def environment(self, site: Site) -> dict[str, str]:
        """Ours without settings of a consumer, one thread each, and the contender's own."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONSUMER_")}
        return {
            **inherited,
            **ONE_THREAD,
            "PYTHONPATH": str(HERE),
            "CONSUMER_MODELS_DIR": str(site.workload.pickle),
            **self.settings(site),
        }

    def message(self, job: Job, site: Site) -> bytes:
        """Encode a job's message; its id is a placeholder."""
        body, properties = self.envelope(job, site)
        return encode(self.queue, json.dumps(body).encode(), properties)


def plain(job: Job, site: Site) -> tuple[object, Basic.Properties]:
    """The job as the body, for who needs no envelope."""
    return job, Basic.Properties(
        content_type="application/json",
        delivery_mode=2,
        correlation_id=ID_PLACEHOLDER,
        message_id=ID_PLACEHOLDER,
        reply_to=site.replies,
    )
