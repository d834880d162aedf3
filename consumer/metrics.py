"""Every metric's name, in one place; each is counted here (registry.py) and sent to statsd, if there is one.

Sending never raises and never waits. statsd's names are `<prefix>.<host>.<name>`, so that counters can be summed
over hosts and gauges told apart. While jobs run, lines are collected for a moment and sent many to a datagram: a
system call costs more than all the lines of a job. When nothing runs everything has been sent.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from statsd import StatsClient
from statsd.client.udp import Pipeline

from consumer.disposition import Settlement
from consumer.job import Abandoned, Outcome, Request, Succeeded, Unsuccessful
from consumer.registry import Registry
from consumer.settings import Settings

log = logging.getLogger(__name__)

#: How long a line may wait for others. statsd itself sums up over seconds (10 by default).
COLLECT_S = 0.1
#: What fits into one packet of an Ethernet with its usual 1500 bytes, with room for a tunnel.
MAX_DATAGRAM_BYTES = 1400

#: name -> what it says. The README's table is this one; a test holds the two together.
NAMES = {
    "jobs.received": "counter: deliveries taken from the jobs queue",
    "jobs.succeeded": "counter: jobs that ended with a result",
    "jobs.failed.<code>": "counter: attempts that ended without a result, by error code",
    "jobs.acked": "counter: jobs that are done, answered or with nobody left to answer",
    "jobs.retried": "counter: attempts that were sent to a retry queue",
    "jobs.requeued": "counter: jobs handed back because the service stopped",
    "jobs.dead_lettered": "counter: jobs that went to the dead-letter exchange",
    "jobs.abandoned": "counter: jobs that did not run because their caller had gone (`drop_if_caller_gone`)",
    "jobs.connection_lost": "counter: deliveries that could not be settled because the connection was lost",
    "jobs.remembered": "counter: redeliveries answered with the outcome of a run begun before",
    "replies.unroutable": "counter: replies whose queue is gone or full",
    "jobs.queue_wait": "timer: from the message's timestamp (whole seconds) to its delivery",
    "jobs.run": "timer: how long the classifier ran",
    "jobs.total": "timer: from delivery to settlement",
    "batches.run": "counter: batches of two jobs or more (`batch_size`)",
    "batches.jobs": "counter: jobs in these batches; divided by `batches.run`, the size of a batch",
    "batches.alone": "counter: jobs in these batches that were run again, alone",
    "slots.busy": "gauge: slots that hold a job",
    "slots.size": "gauge: slots in all",
    "consuming": "gauge: 1 while jobs reach this consumer, 0 while RabbitMQ is away",
}

#: Upper bounds in seconds: from a warm worker's millisecond to the cap of run times.
_RUN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
#: Timestamps are whole seconds, and a queue may stand for hours.
_WAIT_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
BOUNDS = {"jobs.queue_wait": _WAIT_S, "jobs.run": _RUN_S, "jobs.total": _RUN_S}

SETTLEMENTS = {
    Settlement.ACK: "jobs.acked",
    Settlement.RETRY: "jobs.retried",
    Settlement.REQUEUE: "jobs.requeued",
    Settlement.DEAD_LETTER: "jobs.dead_lettered",
}


class Metrics:
    """Says what happened, one method a moment. Without a client nothing is sent, but all is counted.

    Mutable state: `registry`, the counts; `_lines`, what is not sent yet; `_sending`, the timer that will send it;
    `_running`, how many jobs are between `received` and `ended`.
    """

    def __init__(self, client: StatsClient | None = None) -> None:
        self.registry = Registry(NAMES, BOUNDS)
        self._client = client
        self._lines = client.pipeline() if client else None
        self._sending: asyncio.TimerHandle | None = None
        self._running = 0

    @classmethod
    def from_settings(cls, settings: Settings) -> Metrics:
        """Resolve statsd's address once. One that cannot be resolved costs the metrics, not the service."""
        if settings.statsd_host is None:
            return cls()
        prefix = f"{settings.prefix}.{re.sub('[^A-Za-z0-9_-]', '_', socket.gethostname())}"
        try:
            client = StatsClient(settings.statsd_host, settings.statsd_port, prefix, MAX_DATAGRAM_BYTES)
        except (OSError, UnicodeError) as error:  # the second for what is no host name at all
            log.error("no metrics: statsd_host %r cannot be resolved: %s", settings.statsd_host, error)
            return cls()
        client._sock.setblocking(False)  # noqa: SLF001 - no public way; a full socket buffer must not stop the loop
        return cls(client)

    def received(self, request: Request) -> None:
        """A delivery was taken. A clock that is behind the producer's makes no negative wait."""
        self._running += 1
        wait_s = None if request.sent_at is None else max(0.0, time.time() - request.sent_at)
        self._tell(counters=["jobs.received"], timers={"jobs.queue_wait": wait_s})

    def slots(self, *, busy: int, size: int) -> None:
        """A slot was taken or given back."""
        self._tell(gauges={"slots.busy": busy, "slots.size": size})

    def ended(self, outcome: Outcome, settlement: Settlement, *, total_s: float) -> None:
        """A delivery was settled."""
        self._running -= 1
        counters = [SETTLEMENTS[settlement]]
        if isinstance(outcome, Succeeded):
            counters.append("jobs.succeeded")
        if isinstance(outcome, Unsuccessful):
            counters.append(f"jobs.failed.{outcome.code}")
        if isinstance(outcome, Abandoned):
            counters.append("jobs.abandoned")
        self._tell(counters=counters, timers={"jobs.run": outcome.run_s or None, "jobs.total": total_s})

    def lost(self) -> None:
        """A delivery can no longer be settled."""
        self._running -= 1
        self._tell(counters=["jobs.connection_lost"])

    def remembered(self) -> None:
        """A redelivery needed no second run."""
        self._tell(counters=["jobs.remembered"])

    def batch(self, jobs: int, alone: int) -> None:
        """A batch has run; so many of its jobs are run again alone."""
        told = {"batches.run": 1, "batches.jobs": jobs, "batches.alone": alone}
        self._tell(amounts={name: amount for name, amount in told.items() if amount})

    def consuming(self, yes: bool) -> None:
        """The link to RabbitMQ came or went."""
        self._tell(gauges={"consuming": int(yes)})

    def unroutable(self) -> None:
        """A reply had nowhere to go."""
        self._tell(counters=["replies.unroutable"])

    def _tell(
        self,
        *,
        counters: Sequence[str] = (),
        amounts: Mapping[str, int] = MappingProxyType({}),
        timers: Mapping[str, float | None] = MappingProxyType({}),
        gauges: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        known = {name: seconds for name, seconds in timers.items() if seconds is not None}
        counts = {**dict.fromkeys(counters, 1), **amounts}
        for name, amount in counts.items():
            self.registry.count(name, amount)
        for name, seconds in known.items():
            self.registry.time(name, seconds)
        for name, value in gauges.items():
            self.registry.set(name, value)
        if self._lines is not None:
            self._write(self._lines, counts, known, gauges)

    def _write(
        self,
        lines: Pipeline,
        counts: Mapping[str, int],
        timers: Mapping[str, float],
        gauges: Mapping[str, int],
    ) -> None:
        """Add lines for statsd, and see that they are sent."""
        for name, amount in counts.items():
            lines.incr(name, amount)
        for name, seconds in timers.items():
            lines.timing(name, seconds * 1000)
        for name, value in gauges.items():
            lines.gauge(name, value)
        if self._running <= 0:
            self._send()
        elif self._sending is None:
            self._sending = asyncio.get_running_loop().call_later(COLLECT_S, self._send)

    def _send(self) -> None:
        if self._sending:
            self._sending.cancel()
            self._sending = None
        if self._lines is not None:
            self._lines.send()
