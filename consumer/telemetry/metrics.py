"""Every metric's name, in one place; each is counted here (prometheus.py) and sent to statsd, if there is one.

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

from consumer.config.settings import Settings
from consumer.disposition import Settlement
from consumer.job import Abandoned, Outcome, Request, Succeeded, Unsuccessful
from consumer.telemetry.prometheus import STATUSES, Registry

log = logging.getLogger(__name__)

#: How long a line may wait for others. statsd itself sums up over seconds (10 by default).
COLLECT_S = 0.1
#: What fits into one packet of an Ethernet with its usual 1500 bytes, with room for a tunnel.
MAX_DATAGRAM_BYTES = 1400

#: name -> what it says, of a consumer. The tables in docs/reference.md are made of it and of the gateway's.
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
    "workers.forked": "counter: warm workers that were forked",
    "workers.retired": "counter: workers that the service has ended: their jobs were done, or one took too much",
    "workers.died": "counter: workers that ended by themselves: a crash, or the kernel's OOM killer",
    "workers.refused": "counter: workers that could not be forked",
    "forkserver.restarted": "counter: fork servers started in place of one that had died",
    "reloads.succeeded": "counter: reloads (SIGHUP) after which new code and models serve",
    "reloads.failed": "counter: reloads after which the old code and models go on serving",
    "connection.opened": "counter: times that jobs began to reach this consumer: the start, and each reconnection",
    "connection.lost": "counter: times that the connection to RabbitMQ was lost",
    "jobs.queue_wait": "timer: from the message's timestamp (whole seconds) to its delivery",
    "jobs.run": "timer: how long the classifier ran",
    "jobs.total": "timer: from delivery to settlement",
    "batches.run": "counter: batches of two jobs or more (`batch_size`)",
    "batches.jobs": "counter: jobs in these batches; divided by `batches.run`, the size of a batch",
    "batches.alone": "counter: jobs in these batches that were run again, alone",
    "slots.busy": "gauge: slots that hold a job",
    "slots.used": "gauge: slots that held a job, on average over the last 5 s",
    "slots.size": "gauge: slots in all",
    "consuming": "gauge: 1 while jobs reach this consumer, 0 while RabbitMQ is away",
    "memory.bytes": "gauge: memory of this consumer and all its processes, what they share counted once",
    "disk.free_bytes": "gauge: room that is left on the disk of `job_dir`",
}
#: The same of a gateway. The table is in docs/gateway.md.
GATEWAY_NAMES = {
    "gateway.answers.<status>": "counter: requests that were answered, by HTTP status",
    "gateway.submitted": "counter: jobs that RabbitMQ has confirmed",
    "gateway.request": "timer: from a request to its answer, with what it had asked to wait",
    "gateway.inside": "gauge: requests that are being answered, those that wait included",
    "gateway.kept": "gauge: replies that are kept in memory, counted when asked for",
}
GAUGES = tuple(name for name, text in NAMES.items() if text.startswith("gauge: "))

#: Upper bounds in seconds: from a warm worker's millisecond to the cap of run times.
_RUN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
#: Timestamps are whole seconds, and a queue may stand for hours.
_WAIT_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
BOUNDS = {"jobs.queue_wait": _WAIT_S, "jobs.run": _RUN_S, "jobs.total": _RUN_S, "gateway.request": _RUN_S}

SETTLEMENTS = {
    Settlement.ACK: "jobs.acked",
    Settlement.RETRY: "jobs.retried",
    Settlement.REQUEUE: "jobs.requeued",
    Settlement.DEAD_LETTER: "jobs.dead_lettered",
}


class _Use:
    """How many slots were held, on average: what a gauge says at one moment is no measure where jobs are short.

    Mutable state: `_busy`, how many are held since `_at`; `_slot_s`, how long they were before, since `_since`.
    """

    def __init__(self, now: float) -> None:
        self._busy = 0
        self._slot_s = 0.0
        self._at = self._since = now

    def change(self, busy: int, now: float) -> None:
        self._slot_s += self._busy * (now - self._at)
        self._busy, self._at = busy, now

    def mean(self, now: float) -> float:
        """Give the mean since this was last asked."""
        self.change(self._busy, now)
        mean = self._slot_s / (now - self._since) if now > self._since else 0.0
        self._slot_s, self._since = 0.0, now
        return round(mean, 3)


class Metrics:
    """Says what happened, one method a moment. Without a client nothing is sent, but all is counted.

    Mutable state: `registry`, the counts; `_lines`, what is not sent yet; `_sending`, the timer that will send it;
    `_running`, how many jobs are between `received` and `ended`; `_use`, how long slots were held.
    """

    def __init__(self, client: StatsClient | None = None, names: Mapping[str, str] = NAMES) -> None:
        self.registry = Registry(names, BOUNDS)
        self._client = client
        self._lines = client.pipeline() if client else None
        self._sending: asyncio.TimerHandle | None = None
        self._running = 0
        self._use = _Use(time.monotonic())

    @classmethod
    def from_settings(cls, settings: Settings, names: Mapping[str, str] = NAMES) -> Metrics:
        """Make those that `names` lists, by default a consumer's.

        statsd's address is resolved once. One that cannot be resolved costs the metrics, not the service.
        """
        if settings.statsd_host is None:
            return cls(names=names)
        prefix = f"{settings.prefix}.{re.sub('[^A-Za-z0-9_-]', '_', socket.gethostname())}"
        try:
            client = StatsClient(settings.statsd_host, settings.statsd_port, prefix, MAX_DATAGRAM_BYTES)
        except (OSError, UnicodeError) as error:  # the second for what is no host name at all
            log.error(
                "no metrics: statsd_host %r cannot be resolved: %s",
                settings.statsd_host,
                error,
                extra={"event": "statsd_unresolved"},
            )
            return cls(names=names)
        client._sock.setblocking(False)  # noqa: SLF001 - no public way; a full socket buffer must not stop the loop
        return cls(client, names)

    def received(self, request: Request) -> None:
        """A delivery was taken. A clock that is behind the producer's makes no negative wait."""
        self._running += 1
        wait_s = None if request.sent_at is None else max(0.0, time.time() - request.sent_at)
        self._tell(counters=["jobs.received"], timers={"jobs.queue_wait": wait_s})

    def slots(self, *, busy: int, size: int) -> None:
        """A slot was taken or given back."""
        self._use.change(busy, time.monotonic())
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
        self._tell(counters=["connection.opened" if yes else "connection.lost"], gauges={"consuming": int(yes)})

    def worker_forked(self) -> None:
        """There is one worker more."""
        self._tell(counters=["workers.forked"])

    def worker_refused(self) -> None:
        """A worker was wanted and could not be forked."""
        self._tell(counters=["workers.refused"])

    def worker_ended(self, *, by_us: bool) -> None:
        """There is one worker less."""
        self._tell(counters=["workers.retired" if by_us else "workers.died"])

    def fork_server_restarted(self) -> None:
        """A fork server had died, and there is another."""
        self._tell(counters=["forkserver.restarted"])

    def reloaded(self, *, succeeded: bool) -> None:
        """A reload has ended."""
        self._tell(counters=["reloads.succeeded" if succeeded else "reloads.failed"])

    def vitals(self, *, memory_bytes: int, free_bytes: int) -> None:
        """Tell what was measured, and every other gauge again: a statsd may forget those that nobody repeats."""
        told = {name: self.registry.value(name) for name in GAUGES}
        told["slots.used"] = self._use.mean(time.monotonic())
        self._tell(gauges={**told, "memory.bytes": memory_bytes, "disk.free_bytes": free_bytes})

    def unroutable(self) -> None:
        """A reply had nowhere to go."""
        self._tell(counters=["replies.unroutable"])

    def answered(self, status: int, seconds: float) -> None:
        """A gateway has answered a request; a status of 0: its caller had gone before."""
        counters = [f"gateway.answers.{status}"] if str(status) in STATUSES else []
        self._tell(counters=counters, timers={"gateway.request": seconds})

    def submitted(self) -> None:
        """RabbitMQ has a job of a gateway's."""
        self._tell(counters=["gateway.submitted"])

    def inside(self, count: int) -> None:
        """A request came to a gateway, or has been answered."""
        self._tell(gauges={"gateway.inside": count})

    def kept(self, count: int) -> None:
        """A gateway keeps so many replies."""
        self._tell(gauges={"gateway.kept": count})

    def _tell(
        self,
        *,
        counters: Sequence[str] = (),
        amounts: Mapping[str, int] = MappingProxyType({}),
        timers: Mapping[str, float | None] = MappingProxyType({}),
        gauges: Mapping[str, float] = MappingProxyType({}),
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
        gauges: Mapping[str, float],
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
