"""Every statsd name, in one place. Sending never raises and never waits.

Names are `<prefix>.<host>.<name>`, so that counters can be summed over hosts and gauges told apart. What is
known about a job at one moment goes out in one datagram: system calls cost more than bytes.
"""

from __future__ import annotations

import logging
import re
import socket
import time

from statsd import StatsClient

from consumer.disposition import Settlement
from consumer.job import Outcome, Request, Succeeded, Unsuccessful
from consumer.settings import Settings

log = logging.getLogger(__name__)

#: name -> what it says. The README's table is this one; a test holds the two together.
NAMES = {
    "jobs.received": "counter: deliveries taken from the jobs queue",
    "jobs.succeeded": "counter: jobs that ended with a result",
    "jobs.failed.<code>": "counter: attempts that ended without a result, by error code",
    "jobs.acked": "counter: jobs that are done, answered or with nobody left to answer",
    "jobs.retried": "counter: attempts that were sent to a retry queue",
    "jobs.requeued": "counter: jobs handed back because the service stopped",
    "jobs.dead_lettered": "counter: jobs that went to the dead-letter exchange",
    "replies.unroutable": "counter: replies whose queue is gone or full",
    "jobs.queue_wait": "timer: ms from the message's timestamp (whole seconds) to its delivery",
    "jobs.run": "timer: ms that the classifier ran",
    "jobs.total": "timer: ms from delivery to settlement",
    "slots.busy": "gauge: slots that hold a job",
    "slots.size": "gauge: slots in all",
}

SETTLEMENTS = {
    Settlement.ACK: "jobs.acked",
    Settlement.RETRY: "jobs.retried",
    Settlement.REQUEUE: "jobs.requeued",
    Settlement.DEAD_LETTER: "jobs.dead_lettered",
}


class Metrics:
    """Says what happened, one method a moment. Without a client nothing is sent."""

    def __init__(self, client: StatsClient | None = None) -> None:
        self._client = client

    @classmethod
    def from_settings(cls, settings: Settings) -> Metrics:
        """Resolve statsd's address once. One that cannot be resolved costs the metrics, not the service."""
        if settings.statsd_host is None:
            return cls()
        prefix = f"{settings.prefix}.{re.sub('[^A-Za-z0-9_-]', '_', socket.gethostname())}"
        try:
            client = StatsClient(settings.statsd_host, settings.statsd_port, prefix)
        except (OSError, UnicodeError) as error:  # the second for what is no host name at all
            log.error("no metrics: statsd_host %r cannot be resolved: %s", settings.statsd_host, error)
            return cls()
        client._sock.setblocking(False)  # noqa: SLF001 - no public way; a full socket buffer must not stop the loop
        return cls(client)

    def received(self, request: Request) -> None:
        """A delivery was taken. A clock that is behind the producer's makes no negative wait."""
        wait_s = None if request.sent_at is None else max(0.0, time.time() - request.sent_at)
        self._send(counters=["jobs.received"], timers={"jobs.queue_wait": wait_s})

    def slots(self, *, busy: int, size: int) -> None:
        """A slot was taken or given back."""
        if self._client is not None:
            with self._client.pipeline() as datagram:
                datagram.gauge("slots.busy", busy)
                datagram.gauge("slots.size", size)

    def ended(self, outcome: Outcome, settlement: Settlement, *, total_s: float) -> None:
        """A delivery was settled."""
        counters = [SETTLEMENTS[settlement]]
        if isinstance(outcome, Succeeded):
            counters.append("jobs.succeeded")
        if isinstance(outcome, Unsuccessful):
            counters.append(f"jobs.failed.{outcome.code}")
        self._send(counters=counters, timers={"jobs.run": outcome.run_s or None, "jobs.total": total_s})

    def unroutable(self) -> None:
        """A reply had nowhere to go."""
        self._send(counters=["replies.unroutable"], timers={})

    def _send(self, *, counters: list[str], timers: dict[str, float | None]) -> None:
        if self._client is None:
            return
        with self._client.pipeline() as datagram:
            for name in counters:
                datagram.incr(name)
            for name, seconds in timers.items():
                if seconds is not None:
                    datagram.timing(name, seconds * 1000)
