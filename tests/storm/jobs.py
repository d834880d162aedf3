"""The jobs of storms, on one node or a cluster: what each kind does when it runs, and what must become of it.

One table for both sides: the classifier runs `classify`, the oracle asks `Kind`, so that neither can drift. Only
the standard library and the contract: as a program per job this is started some thousand times.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from classifier.contract import JobError, batch_of, context, log, run

Job = dict[str, Any]
#: Longer than the consumer timeout that the storm sets in RabbitMQ.
LONG_S = 5.0
RESULTS, ANSWERS, NOBODY = "classifier.results", "storm.answers", "storm.nobody"
LARGE = 200_000


def adds(job: Job) -> object:
    return {"n": job["n"], "sum": sum(job["signal"])}


def naps(job: Job) -> object:
    """Shortly, so that jobs are fetched ahead; and now and then so long that those behind it must return."""
    time.sleep(0.3 if job["n"] % 50 == 0 else 0.005)
    return adds(job)


def chatters(job: Job) -> object:
    for line in range(50):
        log(f"line {line}")
        print("OUTPUT not quite", "x" * 500)  # noqa: T201 - outside the contract on purpose
    return adds(job)


def swells(job: Job) -> object:
    return {"n": job["n"], "x": "x" * LARGE}


def leaves_a_process(job: Job) -> object:
    """One that has a session of its own and would outlive the job by ten minutes."""
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    return adds(job)


def lasts(job: Job) -> object:
    time.sleep(LONG_S)
    return adds(job)


def crashes_first(job: Job) -> object:
    return adds(job) if context().attempt > 1 else os._exit(3)


def fails(job: Job) -> object:
    raise JobError(f"job {job['n']} is wrong")


def crashes(_: Job) -> object:
    os.kill(os.getpid(), signal.SIGSEGV)
    return None


def hangs(_: Job) -> object:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
    return None


def expires(job: Job) -> object:
    return adds(job)


def answers_nobody(job: Job) -> object:
    return adds(job)


def is_no_job(_: Job) -> object:
    raise AssertionError("a message that is no job was run")


@dataclass(frozen=True)
class Kind:
    """What is published of each thousand jobs, and how it ends: with `answer`, or with `code` in the dead letters.

    `may_expire`: dead-lettered by RabbitMQ is as good as answered.
    """

    run: Callable[[Job], object]
    share: int
    code: str | None = None
    answer: Callable[[Job], object] = adds
    reply_to: str | None = None
    may_expire: bool = False
    properties: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.run.__name__


KINDS = {
    kind.name: kind
    for kind in (
        Kind(adds, 558),
        Kind(naps, 250, reply_to=ANSWERS),
        Kind(chatters, 40),
        Kind(swells, 10, answer=swells, reply_to=ANSWERS),
        Kind(leaves_a_process, 10),
        Kind(lasts, 2),
        Kind(crashes_first, 30),
        Kind(expires, 20, may_expire=True, properties={"expiration": "200"}),
        Kind(fails, 40, code="classifier_error"),
        Kind(is_no_job, 20, code="invalid_job"),
        Kind(crashes, 6, code="crashed"),
        Kind(hangs, 4, code="timed_out", properties={"headers": {"timeout-s": "0.3"}}),
        Kind(answers_nobody, 10, code="unroutable_reply", reply_to=NOBODY),
    )
}


@dataclass
class Sent:
    """A job as it was published. Mutable: `publishes`, how often until RabbitMQ confirmed it."""

    id: str
    kind: Kind
    job: Job
    publishes: int = 0

    @property
    def body(self) -> bytes:
        return b"no JSON" if self.kind.run is is_no_job else json.dumps(self.job).encode()

    @property
    def answered_in(self) -> str:
        return self.kind.reply_to or RESULTS


def make(n: int, chance: random.Random) -> Sent:
    """Make the n-th job of a storm."""
    [kind] = chance.choices(list(KINDS.values()), [kind.share for kind in KINDS.values()])
    signal_ = [chance.randrange(1000) for _ in range(chance.randrange(1, 300))]
    return Sent(f"job-{n}", kind, {"kind": kind.name, "n": n, "signal": signal_})


def classify(job: Job) -> object:
    """Run one job of any kind."""
    return KINDS[job["kind"]].run(job)


@batch_of(classify)
def classify_together(jobs: list[Job]) -> list[object]:
    """Run several at once, except those that look at their own context or end their process."""
    return [_answer(job) for job in jobs]


def _answer(job: Job) -> object:
    if job["kind"] not in {"adds", "naps", "swells", "expires", "fails", "answers_nobody"}:
        return RuntimeError("runs alone")
    try:
        return classify(job)
    except JobError as error:
        return error


if __name__ == "__main__":
    run(classify)
