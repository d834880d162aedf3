"""Several consumers at once, each a `consumer run` of its own, on one or several nodes of RabbitMQ."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import measure
from support.processes.commands import BIN, environment
from support.waiting import wait_until

#: Classifiers whose cost is known: none at all, or time alone.
MODULE = """
import time

def tiny(job):
    return 1

def sleeps(job):
    time.sleep({sleep_s})
    return 1
"""


@contextmanager
def running(
    count: int, urls: Sequence[str], folder: Path, settings: Mapping[str, object], *, sleep_s: float = 0.2
) -> Iterator[list[int]]:
    """Have so many consumers ready for the block, spread over the URLs; give their process numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fleet_jobs.py").write_text(MODULE.format(sleep_s=sleep_s))
    with ExitStack() as stack:
        pids = []
        logs = [folder / f"consumer-{time.monotonic_ns()}-{number}.log" for number in range(count)]
        for number, path in enumerate(logs):
            log = stack.enter_context(path.open("w"))
            variables = environment(urls[number % len(urls)], **settings)
            process = subprocess.Popen(
                [BIN / "consumer", "run"], env={**variables, "PYTHONPATH": str(folder)}, stderr=log
            )
            stack.callback(measure.stop, process)
            pids.append(process.pid)
        for path in logs:
            wait_until(lambda path=path: "ready:" in path.read_text(), f"{path} to say that it is ready")  # type: ignore[misc]
        yield pids


def broker_cpu_s(pids: Sequence[int]) -> float:
    """CPU time of RabbitMQ's servers since their birth."""
    return sum(map(measure.own_cpu_s, pids))


def consumers_cpu_s(pids: Sequence[int]) -> float:
    """CPU time of the consumers with all that they have started."""
    return sum(map(measure.tree_cpu_s, pids))


def cpus() -> int:
    """How many CPUs all of them share."""
    return len(os.sched_getaffinity(0))
