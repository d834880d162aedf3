"""Defines the alerts. alert_rules.py makes the rules for Grafana and for Prometheus from this table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from panels import LITTLE_ROOM, SETTLED
from queries import Count, Level, Share, Time

#: Longer outages are rare, and `NoConsumer` fires throughout.
AN_OUTAGE_MIN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Fires while the result of the query is beyond the bound. `do`: what to do, in a sentence or two.

    Attributes:
        over_min: the window of the query, in minutes.
        for_min: how long the result must be beyond the bound, in minutes; 0 for events.
        absent: whether it also fires if there is no such gauge, or no longer.
        keeps_min: while no consumer knows a gauge, its last known value counts for so many minutes. Without it an
            alert would end with the connection that shows its value, in the middle of an outage.
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
    keeps_min: int = 0


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
        what="One job in twenty waits for more than a minute; only jobs with a timestamp count.",
        do="If all slots are busy, add consumers. If not, look at the failures: jobs may wait for a retry.",
    ),
    Alert(
        name="QueueDeep",
        query=Level("queue.waiting", "max"),
        above=1000,
        over_min=5,
        for_min=10,
        keeps_min=AN_OUTAGE_MIN,
        what="More than 1,000 jobs wait in the queue.",
        do="If all slots are busy, add consumers. If your consumers run 1,000 jobs in a minute, raise this limit.",
    ),
    Alert(
        name="DeadLetters",
        query=Level("queue.dead", "max"),
        above=0,
        over_min=5,
        for_min=10,
        keeps_min=AN_OUTAGE_MIN,
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
        do="Callers disconnect before their replies arrive, or their queues are full. The log names some jobs.",
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
