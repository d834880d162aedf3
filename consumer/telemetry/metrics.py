"""Names every metric, keeps its value (prometheus.py), and sends it to statsd if a statsd is set.

The code where an event happens calls `count(name)` for a single count, or a method of its own for several values.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from consumer.config.settings import Settings
from consumer.disposition import Settlement
from consumer.job import Abandoned, ErrorCode, Outcome, Request, Succeeded, Unsuccessful
from consumer.telemetry.prometheus import STATUSES, Histogram, Registry
from consumer.telemetry.statsd import StatsdSender

#: Name -> kind and meaning, for a consumer. docs/reference.md is made from this table and the gateway's.
NAMES = {
    "jobs.received": "counter: deliveries taken from the jobs queue",
    "jobs.succeeded": "counter: jobs that ended with a result",
    "jobs.failed.<code>": "counter: attempts that ended without a result, by error code",
    "jobs.acked": "counter: jobs that were acknowledged: answered, or abandoned by their caller",
    "jobs.retried": "counter: attempts that were sent to a retry queue",
    "jobs.ahead": "counter: deliveries that were fetched ahead of a free slot (`look_ahead`)",
    "jobs.returned": "counter: jobs fetched ahead that returned to the queue, because slots held long jobs",
    "jobs.requeued": "counter: jobs requeued: the service stopped, or they are among `jobs.returned`",
    "jobs.dead_lettered": "counter: jobs that went to the dead-letter exchange",
    "jobs.abandoned": "counter: jobs that did not run: their caller had disconnected (`drop_if_caller_gone`)",
    "jobs.connection_lost": "counter: deliveries that could not be settled because the connection was lost",
    "jobs.remembered": "counter: redeliveries answered with the outcome of an earlier run",
    "replies.unroutable": "counter: replies whose queue is missing or full",
    "workers.forked": "counter: warm workers that were forked",
    "workers.retired": "counter: workers that the service ended: after their last job, or over a limit",
    "workers.died": "counter: workers that ended by themselves: a crash, or the kernel's OOM killer",
    "workers.refused": "counter: workers that could not be forked",
    "forkserver.restarted": "counter: fork servers started in place of one that had died",
    "reloads.succeeded": "counter: reloads (SIGHUP) after which new code and models serve",
    "reloads.failed": "counter: reloads after which the old code and models go on serving",
    "connection.opened": "counter: times that this consumer began to receive jobs: start and reconnections",
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
    "slots.ahead": "gauge: how many jobs this consumer may fetch ahead of its slots; 0 for long jobs",
    "consuming": "gauge: 1 while this consumer receives jobs, 0 while it is disconnected",
    "blocked": "gauge: 1 while RabbitMQ accepts no replies of this consumer (memory or disk alarm)",
    "queue.waiting": "gauge: jobs in the jobs queue that no consumer has received",
    "queue.dead": "gauge: dead letters in the dead-letter queue",
    "memory.bytes": "gauge: memory of this consumer and all its processes, shared memory counted once",
    "disk.free_bytes": "gauge: free space on the disk of `job_dir`",
}
#: The same for a gateway. The table is also in docs/gateway.md.
GATEWAY_NAMES = {
    "gateway.answers.<status>": "counter: requests that were answered, by HTTP status",
    "gateway.submitted": "counter: jobs that RabbitMQ has confirmed",
    "gateway.request": "timer: from a request to its answer, with the wait that it asked for",
    "gateway.inside": "gauge: requests in progress, waiting ones included",
    "gateway.kept": "gauge: replies kept in memory, counted at each scrape",
}
#: The counters of a summary, those by code one by one.
COUNTED = (
    "jobs.acked",
    "jobs.retried",
    "jobs.dead_lettered",
    *(f"jobs.failed.{code}" for code in ErrorCode),
)
GAUGES = tuple(name for name, text in NAMES.items() if text.startswith("gauge: "))

#: Upper bounds in seconds: from a warm worker's millisecond to the cap of run times.
_RUN_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
#: Timestamps are whole seconds, and a queue may stand for hours.
_WAIT_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
#: For the summary in the log: geometric buckets, from 0.1 ms to more than a day. The middle of a bucket is at most
#: 2.5 % off, whatever the run times are. A quantile of Prometheus's buckets may be off by half.
FINE_STEP = 1.05
FINE_RUN_S = tuple(0.0001 * FINE_STEP**step for step in range(425))
BOUNDS = {"jobs.queue_wait": _WAIT_S, "jobs.run": _RUN_S, "jobs.total": _RUN_S, "gateway.request": _RUN_S}

SETTLEMENTS = {
    Settlement.ACK: "jobs.acked",
    Settlement.RETRY: "jobs.retried",
    Settlement.REQUEUE: "jobs.requeued",
    Settlement.DEAD_LETTER: "jobs.dead_lettered",
}


class _Use:
    """Sums up how long slots were held: a single sample of busy slots says little when jobs are short.

    Mutable state: `_busy`, the slots held since `_at`; `_slot_s`, all slot seconds up to `_at`.
    """

    def __init__(self, now: float) -> None:
        self._busy = 0
        self._slot_s = 0.0
        self._at = now

    def change(self, busy: int, now: float) -> None:
        self._slot_s += self._busy * (now - self._at)
        self._busy, self._at = busy, now

    def slot_s(self, now: float) -> float:
        """Return the slot seconds from the beginning until now."""
        self.change(self._busy, now)
        return self._slot_s


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The metrics of the jobs at the time `at`: all counters, run times by `FINE_RUN_S`, slot seconds, slots."""

    at: float
    counts: Mapping[str, float]
    runs: Sequence[int]
    slot_s: float
    slots: int


_NONE: Mapping[str, float] = MappingProxyType({})


class Metrics:
    """Records events as values. Without `statsd`, it keeps them and sends nothing.

    Mutable state: `registry`, all values; `_running`, the number of jobs between `received` and `ended` (while
    jobs run, lines for statsd are collected); `_runs`, the run times for the summary; `_use`, how long slots were
    held; `_used`, that sum and its time at the last report.
    """

    def __init__(self, statsd: StatsdSender | None = None, names: Mapping[str, str] = NAMES) -> None:
        self.registry = Registry(names, BOUNDS)
        self._statsd = statsd
        self._running = 0
        self._runs = Histogram(FINE_RUN_S)
        now = time.monotonic()
        self._use = _Use(now)
        self._used = (0.0, now)

    @classmethod
    def from_settings(cls, settings: Settings, names: Mapping[str, str] = NAMES) -> Metrics:
        """Keep the metrics in `names`, by default a consumer's; send them to the statsd in the settings."""
        return cls(StatsdSender.from_settings(settings), names)

    def count(self, name: str, number: int = 1) -> None:
        """Add to a counter."""
        self._record({name: number})

    def gauge(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._record({}, gauges={name: value})

    def unknown(self, name: str) -> None:
        """Mark a gauge as not known: NaN for Prometheus; statsd receives no value and forgets the gauge."""
        self.registry.set(name, math.nan)

    def received(self, request: Request, *, is_ahead: bool = False) -> None:
        """Record a received delivery. Its wait is never negative, even if the producer's clock is ahead."""
        self._running += 1
        sent_at = request.sent_at
        waited = {} if sent_at is None else {"jobs.queue_wait": max(0.0, time.time() - sent_at)}
        counts = {"jobs.received": 1, "jobs.ahead": 1} if is_ahead else {"jobs.received": 1}
        self._record(counts, seconds=waited)

    def slots(self, *, busy: int, size: int) -> None:
        """Record the slots in use, after one was taken or released."""
        self._use.change(busy, time.monotonic())
        self._record({}, gauges={"slots.busy": busy, "slots.size": size})

    def ended(self, outcome: Outcome, settlement: Settlement, *, total_s: float) -> None:
        """Record a settled delivery."""
        self._running -= 1
        counts = {SETTLEMENTS[settlement]: 1}
        match outcome:
            case Succeeded():
                counts["jobs.succeeded"] = 1
            case Unsuccessful():
                counts[f"jobs.failed.{outcome.code}"] = 1
            case Abandoned():
                counts["jobs.abandoned"] = 1
        ran = {}
        if outcome.run_s:
            ran["jobs.run"] = outcome.run_s
            self._runs.add(outcome.run_s)
        self._record(counts, seconds={**ran, "jobs.total": total_s})

    def lost(self) -> None:
        """Record a delivery that can no longer be settled."""
        self._running -= 1
        self.count("jobs.connection_lost")

    def batch(self, jobs: int, alone: int) -> None:
        """Record a batch that has run; `alone` of its jobs run again alone."""
        counts = {"batches.run": 1, "batches.jobs": jobs, "batches.alone": alone}
        self._record({name: amount for name, amount in counts.items() if amount})

    def consuming(self, yes: bool) -> None:
        """Record that the connection to RabbitMQ was opened or lost."""
        self._record({"connection.opened" if yes else "connection.lost": 1}, gauges={"consuming": int(yes)})

    def vitals(self, *, memory_bytes: int, free_bytes: int) -> None:
        """Set the measured gauges, and repeat all known ones: statsd may forget a gauge that is not repeated."""
        values = {name: self.registry.value(name) for name in GAUGES}
        known = {name: value for name, value in values.items() if not math.isnan(value)}
        known["slots.used"] = self._mean_use(time.monotonic())
        self._record({}, gauges={**known, "memory.bytes": memory_bytes, "disk.free_bytes": free_bytes})

    def _mean_use(self, now: float) -> float:
        """Return how many slots were held on average since the last call."""
        (slot_s, since), self._used = self._used, (self._use.slot_s(now), now)
        return round((self._used[0] - slot_s) / (now - since), 3) if now > since else 0.0

    def snapshot(self) -> Snapshot:
        """Return what a summary of the jobs needs."""
        now = time.monotonic()
        counts = {name: self.registry.value(name) for name in COUNTED}
        runs, slots = tuple(self._runs.counts), int(self.registry.value("slots.size"))
        return Snapshot(now, counts, runs, self._use.slot_s(now), slots)

    def answered(self, status: int, seconds: float) -> None:
        """Record a request that the gateway answered; status 0: the caller had disconnected before."""
        counts = {f"gateway.answers.{status}": 1} if str(status) in STATUSES else {}
        self._record(counts, seconds={"gateway.request": seconds})

    def _record(
        self,
        counts: Mapping[str, int],
        *,
        seconds: Mapping[str, float] = _NONE,
        gauges: Mapping[str, float] = _NONE,
    ) -> None:
        for name, amount in counts.items():
            self.registry.count(name, amount)
        for name, value in seconds.items():
            self.registry.time(name, value)
        for name, value in gauges.items():
            self.registry.set(name, value)
        if self._statsd:
            self._statsd.add(counts, seconds, gauges, at_once=self._running <= 0)
