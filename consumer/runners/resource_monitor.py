"""Looks at what each running job takes, several times a second, and kills the job that takes too much.

The kernel bounds what a process takes for itself (classifier/child/confinement.py). What all processes of a job
take together, and what a warm worker takes for one of its jobs, can only be measured from outside. A job that ends
before the first sample costs nothing. The limits are in config/job_limits.py.
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

from consumer.config.job_limits import Taken, excess, too_little_room
from consumer.runners.child import Child
from consumer.runners.procfs import Process, proportional_bytes, sizes, unlinked_bytes
from consumer.runners.run import Run

log = logging.getLogger(__name__)

#: A look takes some 0.1 ms of CPU a job, so a thousandth at most; in between a process fills a GiB at most.
PERIOD_S = 0.25
#: A folder with more files is looked at in several turns: nobody else runs meanwhile.
FILES_AT_ONCE = 2000
#: Who has less on the disk is not the one that filled it.
LEAST_GUILTY_BYTES = 1024**2
#: Most file systems give a file room by this.
BLOCK_BYTES = 4096


class Folder:
    """A job's folder, and what the job has written there. Its input is the consumer's, and never held against it.

    Mutable state: the walk through it, what it has come to, and what the walk before has come to.
    """

    def __init__(self, path: Path, inputs: Iterable[int]) -> None:
        """Look at a folder that holds job files of these sizes, in bytes."""
        self.path = path
        self._input = sum(-(-size // BLOCK_BYTES) * BLOCK_BYTES for size in inputs)
        self._walk: Iterator[int] = iter(())
        self._counted = 0
        self._last_walk = 0

    def look(self) -> int:
        """Give the bytes that the job has written; in a large folder, those of the files seen so far."""
        found = list(islice(self._walk, FILES_AT_ONCE))
        if not found:
            self._last_walk, self._walk, self._counted = self._counted, sizes(self.path), 0
            found = list(islice(self._walk, FILES_AT_ONCE))
        self._counted += sum(found)
        return self._beyond_input(self._counted)

    def _beyond_input(self, found: int) -> int:
        """Subtract the input, under whatever name it is by now."""
        return max(0, found - self._input)

    def all(self) -> int:
        """Give the bytes that the job has written, as far as seen: a million files now would hold up the loop."""
        return self._beyond_input(max(self._counted, self._last_walk))


@dataclass(eq=False, slots=True)
class Watched:
    """One run that is looked at, with all its processes, which `processes` gives.

    `before` is the memory of its process at the fork, and the CPU time that it had used when the job began.
    """

    run: Run
    child: Child
    processes: Callable[[], Iterable[Process]]
    folder: Folder
    before: Process | None = None

    def look(self) -> None:
        """Measure, remember the most, and end what went over a limit."""
        limits = self.run.limits
        found = list(islice(self.processes(), limits.max_processes + 1))
        had = (self.before.resident_bytes, self.before.cpu_s) if self.before else (0, 0.0)
        resident = _resident(found, had[0] + limits.max_memory_bytes)
        taken = Taken(
            memory_bytes=resident - had[0],
            cpu_s=sum(process.cpu_s for process in found) - had[1],
            processes=len(found),
            folder_bytes=self.folder.look(),
        )
        self.run.note(cpu_s=taken.cpu_s, peak_bytes=resident)
        if words := excess(taken, limits):
            self.end(words)

    def on_disk(self) -> int:
        """Give what it has written to the disk, files without a name included."""
        limits = self.run.limits
        open_files = sum(unlinked_bytes(process.pid) for process in islice(self.processes(), limits.max_processes))
        return self.folder.all() + open_files

    def end(self, words: str) -> None:
        """Kill it, without asking: who takes too much is not given time to take more."""
        self.run.exceed(words)
        self.child.signal_group(signal.SIGKILL)


def _resident(found: Sequence[Process], enough: int) -> int:
    """Sum up the memory. What forked processes share counts for each, which is quick; too much is looked into."""
    total = sum(process.resident_bytes for process in found)
    if total <= enough:
        return total
    # Twice: when one ends between two readings, its part of what is shared is counted again with the others'.
    return min(sum(map(proportional_bytes, found)) for _ in range(2))


@dataclass(eq=False)
class Watch:
    """One timer for all jobs.

    Mutable state: those that run; whether the timer does: it runs while they do; whether the disk is short.
    """

    _watched: set[Watched] = field(default_factory=set)
    _is_set: bool = False
    _is_short: bool = False

    def begin(self, watched: Watched) -> Watched:
        """Watch a run until its `end`."""
        self._watched.add(watched)
        self._set_timer()
        return watched

    def end(self, watched: Watched) -> None:
        """Watch it no more, if it still was."""
        self._watched.discard(watched)

    def _set_timer(self) -> None:
        if not self._is_set:
            self._is_set = True
            asyncio.get_running_loop().call_later(PERIOD_S, self._look)

    def _look(self) -> None:
        self._is_set = False
        for watched in self._watched:
            watched.look()
        if self._watched:
            self._look_for_room()
            self._set_timer()

    def _look_for_room(self) -> None:
        """Where a disk gets full, end the job that has written the most to it: the others need what is left."""
        some = next(iter(self._watched))
        free, least = _free(some.folder.path), some.run.limits.min_free_bytes
        was_short, self._is_short = self._is_short, free is not None and free < least
        if free is None or not self._is_short:
            return
        written, guilty = max(((one.on_disk(), one) for one in self._watched), key=itemgetter(0))
        if written >= LEAST_GUILTY_BYTES:
            guilty.end(too_little_room(guilty.run.limits, free=free, written=written))
        elif not was_short:
            log.warning(
                "job_dir has %d bytes free, less than %d (min_free_bytes), and no running job has filled it: free "
                "some space, or name another job_dir",
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
