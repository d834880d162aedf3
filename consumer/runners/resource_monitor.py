"""Samples the usage of each running job several times a second, and kills a job that exceeds a limit.

The kernel limits each single process (classifier/child/confinement.py). The sum over all processes of a job, and
the usage of a warm worker for one job, can only be measured from outside. A job that ends before the first sample
costs nothing. The limits are in config/job_limits.py.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from pathlib import Path

from consumer.config.job_limits import Taken, disk_shortage, excess
from consumer.runners.child import Child
from consumer.runners.procfs import Process, proportional_bytes, sizes, unlinked_bytes
from consumer.runners.run import Run

log = logging.getLogger(__name__)

#: A sample takes about 0.1 ms of CPU per job. Between two samples, a process can fill 1 GiB of memory at most.
PERIOD_S = 0.25
#: A folder with more files is measured over several samples, because each count blocks the event loop.
FILES_AT_ONCE = 2000
#: A job that has written less than this has not filled the disk.
LEAST_GUILTY_BYTES = 1024**2
#: The unit in which most file systems allocate.
BLOCK_BYTES = 4096
#: The usage before the job, for a program that was started for this job.
_NOTHING = Process(0, cpu_s=0.0, resident_bytes=0)


class Folder:
    """Measures the bytes that a job has written to its folder. The job's input does not count.

    Mutable state: `_walk`, the current walk through the folder; `_counted`, its sum so far; `_last_walk`, the sum
    of the previous walk.
    """

    def __init__(self, path: Path, inputs: Iterable[int]) -> None:
        """Measure `path`; `inputs` are the sizes of its job files in bytes."""
        self.path = path
        self._input = sum(-(-size // BLOCK_BYTES) * BLOCK_BYTES for size in inputs)
        self._walk: Iterator[int] = iter(())
        self._counted = 0
        self._last_walk = 0

    def measure(self) -> int:
        """Return the bytes that the job has written; in a large folder, those of the files counted so far."""
        found = list(islice(self._walk, FILES_AT_ONCE))
        if not found:
            self._last_walk, self._walk, self._counted = self._counted, sizes(self.path), 0
            found = list(islice(self._walk, FILES_AT_ONCE))
        self._counted += sum(found)
        return self._beyond_input(self._counted)

    def _beyond_input(self, found: int) -> int:
        """Subtract the size of the input from `found`.

        The file's name does not matter: a job may have renamed it.
        """
        return max(0, found - self._input)

    def counted(self) -> int:
        """Return the result of the last walks. A new walk could block the event loop."""
        return self._beyond_input(max(self._counted, self._last_walk))


@dataclass(eq=False, slots=True)
class MonitoredRun:
    """One run that is sampled. `processes` yields all its processes.

    `before` returns the usage that does not count: the memory of the worker at the fork, and its CPU time when the
    job began. It is called only for a sample, because most jobs end before the first one.
    """

    run: Run
    child: Child
    processes: Callable[[], Iterable[Process]]
    folder: Folder
    before: Callable[[], Process] | None = None

    def sample(self) -> None:
        """Measure the run, update its peak, and end it if it exceeds a limit."""
        limits = self.run.limits
        found = list(islice(self.processes(), limits.max_processes + 1))
        before = self.before() if self.before else _NOTHING
        resident = _resident(found, before.resident_bytes + limits.max_memory_bytes)
        taken = Taken(
            memory_bytes=resident - before.resident_bytes,
            cpu_s=sum(process.cpu_s for process in found) - before.cpu_s,
            processes=len(found),
            folder_bytes=self.folder.measure(),
        )
        self.run.note(cpu_s=taken.cpu_s, peak_bytes=resident)
        if words := excess(taken, limits):
            self.end(words)

    def on_disk(self) -> int:
        """Return the bytes that the run has on disk, including deleted files that it holds open."""
        limits = self.run.limits
        open_files = sum(unlinked_bytes(process.pid) for process in islice(self.processes(), limits.max_processes))
        return self.folder.counted() + open_files

    def end(self, words: str) -> None:
        """Kill the run at once with SIGKILL: a grace period would let it use even more."""
        self.run.exceed(words)
        self.child.signal_group(signal.SIGKILL)


def _resident(found: Sequence[Process], enough: int) -> int:
    """Sum up the memory. If the sum exceeds `enough` bytes, sum up again with each shared page counted once."""
    total = sum(process.resident_bytes for process in found)
    if total <= enough:
        return total
    # The lower of two sums: if a process ends during one, its share of the shared pages is counted twice.
    return min(sum(map(proportional_bytes, found)) for _ in range(2))


@dataclass(eq=False)
class Monitor:
    """Samples all running jobs with one timer.

    Mutable state: `_monitored`, the runs; `_is_set`, whether the timer is set; `_is_short`, whether disk space was
    short at the last sample. The timer is set while there are runs.
    """

    _monitored: set[MonitoredRun] = field(default_factory=set)
    _is_set: bool = False
    _is_short: bool = False

    def begin(self, monitored: MonitoredRun) -> MonitoredRun:
        """Monitor a run until its `end`."""
        self._monitored.add(monitored)
        self._set_timer()
        return monitored

    def end(self, monitored: MonitoredRun) -> None:
        """Stop monitoring a run. A second call does nothing."""
        self._monitored.discard(monitored)

    def _set_timer(self) -> None:
        if not self._is_set:
            self._is_set = True
            asyncio.get_running_loop().call_later(PERIOD_S, self._sample_all)

    def _sample_all(self) -> None:
        self._is_set = False
        for monitored in self._monitored:
            monitored.sample()
        if self._monitored:
            self._check_free_space()
            self._set_timer()

    def _check_free_space(self) -> None:
        """If disk space is short, end the job that has written the most, because the other jobs need the rest."""
        some = next(iter(self._monitored))
        free, least = _free(some.folder.path), some.run.limits.min_free_bytes
        was_short, self._is_short = self._is_short, free is not None and free < least
        if free is None or not self._is_short:
            return
        written, guilty = max(((one.on_disk(), one) for one in self._monitored), key=itemgetter(0))
        if written >= LEAST_GUILTY_BYTES:
            guilty.end(disk_shortage(guilty.run.limits, free=free, written=written))
        elif not was_short:
            log.warning(
                "job_dir has %d bytes free, less than %d (min_free_bytes), and no running job has filled it; free "
                "some space, or set another job_dir",
                free,
                least,
                extra={"event": "job_dir_full"},
            )


def _free(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:  # a job may have removed its folder
        return None
    return found.f_bavail * found.f_frsize
