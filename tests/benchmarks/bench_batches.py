"""Micro-batches: jobs per second and CPU per job by `batch_size`, at saturation, with PLAID's forest as a pickle.

One call of a forest of 100 trees costs almost the same for one signal as for many, so its jobs gain the most; the
bound is for them. All sizes are alive at the same time, take turns, and are compared within each turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import measure
import ours
from contender import Contender
from plan import tell
from results import Row
from running import Host, Running, started, vhost
from workload import Workload

pytest_plugins = ["shared_fixtures"]

#: The first is what the others are compared with: the default.
SIZES = (1, 4, 16, 64)
#: The size that is held to the bound: how many times the jobs per second of single jobs.
BOUND_SIZE, BOUND = 16, 4.0
#: More than the largest prefetch, 192 with 2 slots, so that the queue is never empty.
IN_FLIGHT = 256


@dataclass
class Size:
    """One batch size at work, and what was measured of it, a value per turn."""

    batch_size: int
    running: Running
    row: Row
    jobs_per_s: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)

    def warm_up(self, burst_s: float) -> None:
        """Let every worker have worked, and see how many jobs make a burst."""
        self.running.first_reply(self.row)
        done = self.running.run(self.row, 2 * IN_FLIGHT, IN_FLIGHT)
        self.jobs = max(int(done.jobs_per_s * burst_s), 2 * IN_FLIGHT)

    def sample(self) -> None:
        """Take one turn."""
        alone = self.running.run(self.row, 20, 1)
        cpu_s = measure.tree_cpu_s(self.running.process.pid)
        done = self.running.run(self.row, self.jobs, IN_FLIGHT)
        self.cpu_ms.append((measure.tree_cpu_s(self.running.process.pid) - cpu_s) / self.jobs * 1000)
        self.jobs_per_s.append(done.jobs_per_s)
        self.latency_ms.append(alone.latency_ms(0.5))
        tell(f"batch_size {self.batch_size}: {done.jobs_per_s:.0f} jobs/s, {self.cpu_ms[-1]:.2f} ms CPU per job")


def test_batches_of_the_forest_answer_many_times_as_many_jobs(plaid_workload: Workload, host: Host) -> None:
    sizes: list[Size] = []
    for number in range(host.plan.rounds):
        tell(f"batches: round {number + 1} of {host.plan.rounds}, starting")
        with ExitStack() as stack:
            round_ = [_started(size, plaid_workload, host, stack) for size in SIZES]
            for turn in range(host.plan.turns):
                for size in (*round_[turn % len(SIZES) :], *round_[: turn % len(SIZES)]):
                    size.sample()
            sizes += round_
    ratios = {batch_size: _report(batch_size, sizes) for batch_size in SIZES}
    assert ratios[BOUND_SIZE] >= BOUND


def _started(batch_size: int, workload: Workload, host: Host, stack: ExitStack) -> Size:
    url = stack.enter_context(vhost(host.node))
    running = stack.enter_context(started(_contender(batch_size), workload, host, url, host.plan.slots))
    size = Size(batch_size, running, Row(f"batch-{batch_size}", ""))
    size.warm_up(host.plan.burst_s)
    return size


def _contender(batch_size: int) -> Contender:
    return ours.warm(f"ours-batch-{batch_size}", f"ours, batch_size {batch_size}", batch_size=str(batch_size))


def _report(batch_size: int, sizes: Sequence[Size]) -> float:
    """Print the medians of a size; its jobs per second over those of single jobs, in the same turn."""
    alone = [value for size in sizes if size.batch_size == 1 for value in size.jobs_per_s]
    own = [size for size in sizes if size.batch_size == batch_size]
    jobs_per_s = [value for size in own for value in size.jobs_per_s]
    ratio = median(value / one for value, one in zip(jobs_per_s, alone, strict=True))
    cpu_ms = median(value for size in own for value in size.cpu_ms)
    latency_ms = median(value for size in own for value in size.latency_ms)
    tell(
        f"batch_size {batch_size}: {median(jobs_per_s):.0f} jobs/s, {ratio:.2f} times those of single jobs; "
        f"CPU {cpu_ms:.2f} ms a job; p50 with one in flight {latency_ms:.1f} ms"
    )
    return ratio
