"""The in-process loop from the outside: a contender without RabbitMQ, and the source of the right labels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import measure
from inside import FUNCTION_VARIABLE, ONE_THREAD
from results import Sample, quantile
from running import MANY_JOBS
from workload import Workload

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Done:
    """What the loop says of some jobs."""

    wall_s: float
    cpu_s: float
    times_s: list[float]
    labels: list[str]


class Loop:
    """`in_process.py` as a process."""

    def __init__(self, workload: Workload, burst_s: float) -> None:
        self._burst_s = burst_s
        self._begun = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, _HERE / "in_process.py", workload.jobs_file],
            env={
                **os.environ,
                **ONE_THREAD,
                "PYTHONPATH": str(_HERE),
                "CONSUMER_MODELS_DIR": str(workload.pickle),
                FUNCTION_VARIABLE: workload.function,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._answer()  # loaded

    @classmethod
    @contextmanager
    def started(cls, workload: Workload, burst_s: float) -> Iterator[Self]:
        """Start it; it is gone after the block."""
        loop = cls(workload, burst_s)
        try:
            yield loop
        finally:
            measure.stop(loop.process)
            for pipe in (loop.process.stdin, loop.process.stdout):
                assert pipe
                pipe.close()

    def warm_up(self) -> float:
        """Let it have worked; return the seconds until its first answer."""
        self.run(1)
        start_s = time.perf_counter() - self._begun
        self.run(100)
        return start_s

    def sample(self) -> Sample:
        """Take one turn."""
        done = self.run(MANY_JOBS, self._burst_s)
        jobs = len(done.labels)
        return {
            "jobs_per_s": jobs / done.wall_s,
            "alone_p50_ms": quantile(done.times_s, 0.5) * 1000,
            "alone_p99_ms": quantile(done.times_s, 0.99) * 1000,
            "cpu_ms": done.cpu_s / jobs * 1000,
        }

    def memory_mb(self) -> float:
        return measure.tree_pss_mb(self.process.pid)

    def run(self, jobs: int, seconds: float = 3600.0) -> Done:
        """Do so many jobs, or as many as fit into the seconds."""
        assert self.process.stdin
        self.process.stdin.write(f"{jobs} {seconds}\n".encode())
        self.process.stdin.flush()
        return Done(**json.loads(self._answer()))

    def _answer(self) -> bytes:
        assert self.process.stdout
        answer = self.process.stdout.readline()
        if not answer:
            raise EOFError("the in-process loop ended; its traceback is above")
        return answer


def labelled(workload: Workload) -> Workload:
    """The workload with the label of each signal, as the loop gives it."""
    with Loop.started(workload, burst_s=0) as loop:
        return replace(workload, labels=tuple(loop.run(len(workload.jobs)).labels))
