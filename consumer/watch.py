"""Looks at what each running job takes, several times a second, and kills the job that takes too much.

What a process may take for itself the kernel bounds (classifier/process.py); what all processes of a job take
together, and what a warm worker takes for one of its jobs, is only seen from outside. A job that is over before we
look costs nothing. How much is too much is decided in limits.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from consumer.child import Child
from consumer.limits import Limits, Taken, excess, too_little_room
from consumer.procfs import Process, proportional_bytes, sizes, unlinked_bytes
from consumer.run import Run

#: A look takes some 0.1 ms of CPU a job, so a thousandth at most; in between a process fills a GiB at most.
PERIOD_S = 0.25
#: A folder with more files is looked at in several turns: nobody else runs meanwhile.
FILES_AT_ONCE = 2000
#: Who has less on the disk is not the one that filled it.
LEAST_GUILTY_BYTES = 1024**2


class Folder:
    """What lies in a job's folder.

    Mutable state: the walk through it, what it has come to, and what the walk before has come to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._walk: Iterator[int] = iter(())
        self._counted = 0
        self._last_walk = 0

    def look(self) -> int:
        """Give the bytes in it; of a large one, those of the files seen so far."""
        found = list(islice(self._walk, FILES_AT_ONCE))
        if not found:
            self._last_walk, self._walk, self._counted = self._counted, sizes(self.path), 0
            found = list(islice(self._walk, FILES_AT_ONCE))
        self._counted += sum(found)
        return self._counted

    def all(self) -> int:
        """Give the bytes in it that were seen so far: to look at a million files now would hold up the loop."""
        return max(self._counted, self._last_walk)


@dataclass(eq=False, slots=True)
class Watched:
    """One run that is looked at. `before` is what its process had, and had used, when the job began."""

    run: Run
    child: Child
    processes: Callable[[], Iterable[Process]]
    folder: Folder
    before: Process | None

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
        """Give what it holds of the disk, files without a name included."""
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
    """One timer for all jobs. Mutable state: those that run, and whether the timer does: it runs while they do."""

    _watched: set[Watched] = field(default_factory=set)
    _is_set: bool = False

    @contextmanager
    def over(
        self,
        run: Run,
        child: Child,
        processes: Callable[[], Iterable[Process]],
        folder: Path,
        before: Process | None = None,
    ) -> Iterator[None]:
        """Watch a run for the block; all its processes are those that `processes` gives."""
        watched = Watched(run, child, processes, Folder(folder), before)
        self._watched.add(watched)
        self._set_timer()
        try:
            yield
        finally:
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
        """Where a disk gets full, end the job that has the most on it: the others need what is left."""
        some = next(iter(self._watched))
        if not _is_short(some.folder.path, some.run.limits):
            return
        guilty = max(self._watched, key=Watched.on_disk)
        if guilty.on_disk() >= LEAST_GUILTY_BYTES:
            guilty.end(too_little_room(guilty.run.limits))


def _is_short(folder: Path, limits: Limits) -> bool:
    try:
        found = os.statvfs(folder)
    except OSError:  # a job may have removed its folder
        return False
    return found.f_bavail * found.f_frsize < limits.min_free_bytes
