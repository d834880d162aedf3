"""Defines the panels of the dashboards. dashboards.py makes the dashboards of both stores from this table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from queries import ByCode, Filled, Level, Query, Rate, Share, Time


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph, or one number. `answers`: what it shows, and what to look at next. A row has a `width` of 24."""

    title: str
    answers: str
    unit: str
    queries: tuple[Query, ...]
    kind: Literal["graph", "number"] = "graph"
    width: int = 12
    bad_above: float | None = None
    bad_below: float | None = None


SETTLED = ("jobs.acked", "jobs.dead_lettered")
#: Twice what the service keeps free (`min_free_bytes`). `job_dir` may be a small tmpfs: with a bound near its size
#: the alert would never end.
LITTLE_ROOM = 128 * 2**20

#: Row -> its panels.
ROWS: dict[str, tuple[Panel, ...]] = {
    "At a glance": (
        Panel(
            "Consumers",
            "The number of consumers that receive jobs. At 0 no job runs.",
            "short",
            (Level("consuming", "sum", "consumers"),),
            "number",
            4,
            bad_below=1,
        ),
        Panel(
            "Jobs done",
            "Jobs per second that ended with a reply, or whose caller has disconnected.",
            "ops",
            (Rate("jobs.acked", "done", 1),),
            "number",
            4,
        ),
        Panel(
            "Dead-lettered",
            "The percentage of jobs that fail for good. `consumer dead-letters list` shows which and why.",
            "percent",
            (Share(("jobs.dead_lettered",), SETTLED, "dead-lettered"),),
            "number",
            4,
            bad_above=10,
        ),
        Panel(
            "Slots busy",
            "The percentage of busy slots. If it stays at 100 % and the queue grows, add consumers.",
            "percent",
            (Filled("slots.used", "slots.size", "busy"),),
            "number",
            4,
        ),
        Panel(
            "Wait in the queue",
            "The 95th percentile of the wait, in whole seconds; only for jobs with a timestamp.",
            "s",
            (Time("jobs.queue_wait", 95, "95 %"),),
            "number",
            4,
            bad_above=60,
        ),
        Panel(
            "Free disk space",
            "Free space of the fullest disk. Without free space, jobs wait, and fail after a minute.",
            "bytes",
            (Level("disk.free_bytes", "min", "free"),),
            "number",
            4,
            bad_below=LITTLE_ROOM,
        ),
    ),
    "Jobs": (
        Panel(
            "What becomes of jobs",
            "How jobs end. If many are retried, look at the failures below.",
            "ops",
            (
                Rate("jobs.received", "received", 1),
                Rate("jobs.ahead", "of them fetched ahead", 1),
                Rate("jobs.acked", "done", 1),
                Rate("jobs.retried", "retried", 1),
                Rate("jobs.dead_lettered", "dead-lettered", 1),
                Rate("jobs.requeued", "requeued", 1),
                Rate("jobs.returned", "of them returned behind long jobs", 1),
            ),
        ),
        Panel(
            "Failures by code, per minute",
            "Failures by the code in the reply. The error records have the message of each failure.",
            "short",
            (ByCode("jobs.failed.<code>"),),
        ),
        Panel(
            "Wait in the queue",
            "If the wait grows while all slots are busy, add consumers. If slots are idle, look at the retries.",
            "s",
            (Time("jobs.queue_wait", 50, "median"), Time("jobs.queue_wait", 95, "95 %")),
        ),
        Panel(
            "Run time",
            "Run time of classifiers, and time from delivery to settlement. The difference is the service's own.",
            "s",
            (
                Time("jobs.run", 50, "median"),
                Time("jobs.run", 95, "95 %"),
                Time("jobs.total", 95, "95 %, delivery to settlement"),
            ),
        ),
        Panel(
            "Slots",
            "Busy slots, all slots, and how many short jobs may be fetched ahead of them.",
            "short",
            (
                Level("slots.used", "sum", "busy"),
                Level("slots.size", "sum", "all"),
                Level("slots.ahead", "sum", "ahead"),
            ),
        ),
        Panel(
            "Rare endings, per minute",
            "Jobs whose caller has disconnected, and redelivered jobs that were answered without a second run.",
            "short",
            (Rate("jobs.abandoned", "caller gone"), Rate("jobs.remembered", "answered from memory")),
        ),
    ),
    "Workers": (
        Panel(
            "Workers, per minute",
            "A retired worker is no fault. A worker that died crashed, or the OOM killer killed it.",
            "short",
            (
                Rate("workers.forked", "forked"),
                Rate("workers.retired", "retired"),
                Rate("workers.died", "died"),
                Rate("workers.refused", "could not be forked"),
            ),
        ),
        Panel(
            "Fork servers and reloads, per minute",
            "Fork servers that died and were restarted, and reloads that succeeded or failed.",
            "short",
            (
                Rate("forkserver.restarted", "fork server restarted"),
                Rate("reloads.succeeded", "reloaded"),
                Rate("reloads.failed", "reload failed"),
            ),
        ),
        Panel(
            "Jobs in batches, per second",
            "With `batch_size`: jobs ÷ batches is the mean size. Jobs run again alone if one spoils their batch.",
            "ops",
            (
                Rate("batches.run", "batches", 1),
                Rate("batches.jobs", "jobs in them", 1),
                Rate("batches.alone", "run again alone", 1),
            ),
            width=24,
        ),
    ),
    "RabbitMQ": (
        Panel(
            "Jobs and dead letters in the queues",
            "Jobs that no consumer has received yet, and dead letters. `consumer status` shows all queues.",
            "short",
            (Level("queue.waiting", "max", "jobs wait"), Level("queue.dead", "max", "dead letters")),
        ),
        Panel(
            "Replies blocked",
            "1 while RabbitMQ accepts no replies, because of a memory or disk alarm. Then no job ends.",
            "short",
            (Level("blocked", "each"),),
        ),
        Panel(
            "Consumers that receive jobs",
            "If this is less than the number of running consumers, some have no connection.",
            "short",
            (Level("consuming", "sum", "receive jobs"), Level("consuming", "each")),
        ),
        Panel(
            "Connection and replies, per minute",
            "RabbitMQ redelivers lost deliveries. A reply is unroutable if the caller's queue no longer exists.",
            "short",
            (
                Rate("connection.opened", "opened"),
                Rate("connection.lost", "lost"),
                Rate("jobs.connection_lost", "deliveries lost"),
                Rate("replies.unroutable", "replies unroutable"),
            ),
        ),
    ),
    "Machine": (
        Panel(
            "Memory",
            "The memory of each consumer with all its processes.",
            "bytes",
            (Level("memory.bytes", "each"),),
        ),
        Panel(
            "Free disk space",
            "Free space on the disk of the job files.",
            "bytes",
            (Level("disk.free_bytes", "each"),),
        ),
    ),
}
