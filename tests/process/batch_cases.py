"""Classifier functions that take a batch: what test_batches.py runs. A job's `case` says what happens over it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_cases
import numpy as np

from classifier.contract import JobError, batch, batch_of, context, contexts, log, output, progress

Job = dict[str, Any]


@batch
def dispatch(jobs: list[Job]) -> list[object]:
    """Do for each job what its `case` names, and tell it how many there are."""
    return [_one({**job, "jobs": len(jobs)}) for job in jobs]


def _one(job: Job) -> object:
    name = job.get("case", "echo")
    chosen: Callable[[Job], object] = globals().get(name) or getattr(hostile_cases, name)
    return chosen(job)


def echo(job: Job) -> object:
    return {"n": job.get("n"), "jobs": job["jobs"], "pid": os.getpid()}


def refused(_: Job) -> object:
    return JobError("no such\nmodel")


def gives_an_exception(_: Job) -> object:
    return ValueError("bad signal")


def raises(_: Job) -> object:
    raise ValueError("bad signal")


def refuses_by_raising(_: Job) -> object:
    raise JobError("a bad job")


def is_no_json(_: Job) -> object:
    return float("nan")


def exits(_: Job) -> object:
    sys.stderr.write("boom\n")
    sys.exit(3)


def kills_itself(_: Job) -> object:
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def hangs(_: Job) -> object:
    log(f"pid {os.getpid()}")
    signal.pause()
    return None


def needs_time(job: Job) -> object:
    time.sleep(job["seconds"])
    return echo(job)


def talks(job: Job) -> object:
    log("hello")
    progress(0.5, "half")
    os.write(1, b"\nOUTPUT: 666\n")
    return echo(job)


def answers_itself(_: Job) -> object:
    output("by itself")
    return None


def leaves_a_thread(job: Job) -> object:
    threading.Thread(target=time.sleep, args=(0.2,), name="late").start()
    return echo(job)


def forges(job: Job) -> object:
    os.write(1, b"\nEND: x\nANSWERS: x\n" + b"OUTPUT: 666\n" * 9 + b"END: x\nRETIRE: x\n")
    return echo(job)


def closes_its_folder(job: Job) -> object:
    Path().chmod(0)
    return echo(job)


def surroundings(_: Job) -> object:
    return {
        "contexts": contexts(),
        "context": context(),
        "files": sorted(os.listdir()),  # noqa: PTH208 - names
        "home": os.environ["HOME"] == str(Path.cwd()),
    }


# Functions of their own


@batch
def answers_wrongly(jobs: list[Job]) -> object:
    """Several jobs get what the first one says, whatever it is; one alone gets its due."""
    if len(jobs) == 1:
        return [jobs[0]["n"]]
    return {"dict": dict(enumerate(jobs)), "text": "x" * len(jobs), "few": [1], "none": None}[jobs[0]["with"]]


@batch
def answers_by_array(jobs: list[Job]) -> object:
    return np.array([job["n"] for job in jobs]) * 2


def single(job: Job) -> object:
    return {"n": job["n"], "by": "single"}


@batch_of(single)
def many(jobs: list[Job]) -> object:
    return [{"n": job["n"], "by": "many"} for job in jobs]
