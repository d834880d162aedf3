"""What the dashboards show, and what is worth waking somebody for: one table of panels, one of alerts.

A row says what is asked, by the metrics' own names (consumer/telemetry/metrics.py), never how a store is asked;
that is dialects.py. Everything else in this folder is made from here by generate.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fold = Literal["sum", "min", "max", "each"]


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a counter counts, all hosts together: per second, or per minute where it is rare."""

    name: str
    legend: str
    per_s: Literal[1, 60] = 60


@dataclass(frozen=True, slots=True)
class ByCode:
    """The rate per minute of a counter that has a part `<code>` in its name, a line for each code."""

    name: str


@dataclass(frozen=True, slots=True)
class Share:
    """How many in a hundred of the whole are the part: counters."""

    part: tuple[str, ...]
    whole: tuple[str, ...]
    legend: str


@dataclass(frozen=True, slots=True)
class Filled:
    """How many in a hundred of the whole are the part: gauges."""

    part: str
    whole: str
    legend: str


@dataclass(frozen=True, slots=True)
class Time:
    """A timer, in seconds: the half that is faster, all but one in twenty; of hosts, the slowest."""

    name: str
    percentile: Literal[50, 95]
    legend: str


@dataclass(frozen=True, slots=True)
class Level:
    """A gauge, of all hosts together, or a line for each host."""

    name: str
    fold: Fold
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Count:
    """How often a counter has counted in the time that is looked at."""

    name: str


Query = Rate | ByCode | Share | Filled | Time | Level | Count


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph, or one number. `answers`: the question, and where to look if the answer is bad. 24 columns wide."""

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
            "Room on disk",
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
                Rate("jobs.retried", "to be tried again", 1),
                Rate("jobs.dead_lettered", "dead-lettered", 1),
                Rate("jobs.requeued", "back to the queue", 1),
                Rate("jobs.returned", "of them behind long jobs", 1),
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
            (Time("jobs.queue_wait", 50, "half of them"), Time("jobs.queue_wait", 95, "95 %")),
        ),
        Panel(
            "Run time",
            "Run time of classifiers, and time from delivery to settlement. The difference is the service's own.",
            "s",
            (
                Time("jobs.run", 50, "half of them"),
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
            width=24,
        ),
        Panel(
            "Consumers that get jobs",
            "If this is less than the number of running consumers, some have no connection.",
            "short",
            (Level("consuming", "sum", "get jobs"), Level("consuming", "each")),
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
            "Room on disk",
            "Free space on the disk of the job files.",
            "bytes",
            (Level("disk.free_bytes", "each"),),
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Fires when the query is beyond the bound for a time. `do`: what to do, in a sentence or two.

    Attributes:
        over_min: minutes that are looked at.
        for_min: minutes that it must hold for; 0 for what has happened and is no state.
        absent: fires as well when there is no such number at all, or no longer.
    """

    name: str
    query: Count | Share | Level | Time
    what: str
    do: str
    above: float | None = None
    below: float | None = None
    over_min: int = 10
    for_min: int = 0
    severity: Literal["page", "ticket"] = "ticket"
    absent: bool = False


ALERTS = (
    Alert(
        name="NoConsumer",
        query=Level("consuming", "sum"),
        below=1,
        over_min=2,
        for_min=2,
        severity="page",
        absent=True,
        what="No consumer receives jobs.",
        do="Check that the service runs. `/ready` and the end of its log name the fault of the connection.",
    ),
    Alert(
        name="RepliesBlocked",
        query=Level("blocked", "max"),
        above=0,
        over_min=2,
        for_min=2,
        severity="page",
        what="RabbitMQ has a memory or disk alarm: it accepts no replies, so no job ends.",
        do="`rabbitmq-diagnostics alarms` names the node. Free memory or disk space there; the service goes on by "
        "itself, and nothing is lost.",
    ),
    Alert(
        name="JobsWait",
        query=Time("jobs.queue_wait", 95, ""),
        above=60,
        over_min=5,
        for_min=5,
        what="One job in twenty waits for more than a minute. Only jobs with a timestamp count.",
        do="If all slots are busy, add consumers. If not, look at the failures: jobs may wait for a retry.",
    ),
    Alert(
        name="QueueDeep",
        query=Level("queue.waiting", "max"),
        above=1000,
        over_min=5,
        for_min=10,
        what="More than 1,000 jobs wait in the queue.",
        do="If all slots are busy, add consumers. If they run 1,000 jobs in a minute, raise this limit.",
    ),
    Alert(
        name="DeadLetters",
        query=Level("queue.dead", "max"),
        above=0,
        over_min=5,
        for_min=10,
        what="There are dead letters.",
        do="`consumer dead-letters list` shows which and why. Fix the cause, then `replay` or `purge` them.",
    ),
    Alert(
        name="JobsDeadLettered",
        query=Share(("jobs.dead_lettered",), SETTLED, ""),
        above=10,
        for_min=5,
        what="More than one job in ten fails for good.",
        do="`consumer dead-letters list` shows which and why. Fix the cause, then `consumer dead-letters replay`.",
    ),
    Alert(
        name="JobsRetried",
        query=Share(("jobs.retried",), ("jobs.received",), ""),
        above=20,
        for_min=5,
        what="More than one attempt in five crashes, times out or exceeds a limit.",
        do="Look at the failures by code. Then raise the limit that the message names, or fix the classifier.",
    ),
    Alert(
        name="WorkersDie",
        query=Count("workers.died"),
        above=3,
        what="More than three workers died within ten minutes.",
        do="The log shows how each ended. SIGKILL: the machine has too little memory, so lower `pool_size`. "
        "SIGSEGV: a library has a bug.",
    ),
    Alert(
        name="NoWorkers",
        query=Count("workers.refused"),
        above=0,
        severity="page",
        what="A worker could not be forked.",
        do="The log has the cause. Usually a limit on processes or descriptors is too low, or memory is short.",
    ),
    Alert(
        name="ForkServerDied",
        query=Count("forkserver.restarted"),
        above=0,
        what="A fork server died, and all its workers with it.",
        do="Look for the kernel's OOM killer (`dmesg`). Give the service more memory, or lower `pool_size`.",
    ),
    Alert(
        name="ReloadFailed",
        query=Count("reloads.failed"),
        above=0,
        what="A reload failed; the old code and models stay in service.",
        do="The log has the cause. Fix it, and send SIGHUP again.",
    ),
    Alert(
        name="ConnectionUnsteady",
        query=Count("connection.lost"),
        above=3,
        what="Connections to RabbitMQ were lost more than three times within ten minutes.",
        do="The log has the cause of each. If RabbitMQ was silent, check the network and the heartbeat.",
    ),
    Alert(
        name="RepliesUnroutable",
        query=Count("replies.unroutable"),
        above=10,
        what="More than ten replies found no queue within ten minutes.",
        do="Callers disconnect before their replies arrive, or their queues are full. The log names the jobs.",
    ),
    Alert(
        name="DiskFull",
        query=Level("disk.free_bytes", "min"),
        below=LITTLE_ROOM,
        over_min=2,
        for_min=2,
        severity="page",
        what="Less than 128 MiB is free on the disk of `job_dir`.",
        do="Free some space, or give `job_dir` its own disk. On a full disk jobs wait, and fail after a minute.",
    ),
)
