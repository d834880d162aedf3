"""Reads the descendants and the usage of processes from Linux's /proc, and the size of folders.

A process that ends during a call causes no error: it is left out. This module only reads and decides nothing.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from consumer.values import value

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
#: The unit of st_blocks in stat(2), on every file system.
_BLOCK = 512
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@value(frozen=True, slots=True)
class Process:
    """One process, possibly dead and not reaped: its CPU seconds until now, and its resident bytes.

    CPU seconds include all its threads, and its reaped children.
    """

    pid: int
    cpu_s: float
    resident_bytes: int


def usage_of(pid: int) -> Process | None:
    """Read a process's usage; None if there is no such process."""
    try:
        return _parse(pid, Path(f"/proc/{pid}/stat").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return None


def _parse(pid: int, stat: bytes) -> Process:
    """Parse /proc/PID/stat (proc(5)) from the third field on. The second, a name, may contain any character."""
    fields = stat[stat.rindex(b")") + 2 :].split()
    return Process(pid, sum(map(int, fields[11:15])) / _TICKS, int(fields[21]) * _PAGE)


def descendants(pid: int) -> Iterator[Process]:
    """Yield all descendants of a process one by one, so that a caller can stop early at a fork bomb."""
    waiting = deque([pid])
    seen = {pid}
    while waiting:
        for child in _children(waiting.popleft()):
            if child not in seen and (process := usage_of(child)):  # an orphan gets a new parent
                seen.add(child)
                waiting.append(child)
                yield process


def _children(pid: int) -> list[int]:
    """Return the children of all threads of a process; none if the kernel lacks CONFIG_PROC_CHILDREN."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_bytes().split())
    return found


def proportional_bytes(process: Process) -> int:
    """Return the bytes of a process. A page that n processes share counts 1/n.

    Slow: the kernel visits every page.
    """
    try:
        return _kibibytes(f"/proc/{process.pid}/smaps_rollup", b"Pss:")
    except PermissionError:
        return process.resident_bytes
    except OSError:  # it has ended
        return 0


def peak_bytes(pid: int) -> int:
    """Return the peak of a process's resident bytes. A warm worker resets it before each job."""
    with suppress(OSError):
        return _kibibytes(f"/proc/{pid}/status", b"VmHWM:")
    return 0


def _kibibytes(file: str, name: bytes) -> int:
    for line in Path(file).read_bytes().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


class Meter:
    """Measures the usage of one process for each of its jobs. It opens /proc/PID/stat once, to save time per job.

    Mutable state: `_begun`, the file's content at the beginning of the job, parsed only if the job is sampled or
    fails; `_read_at`, the time of that reading. The kernel counts in ticks of 10 ms, and a reading takes 3 us, so
    a reading younger than a tick is used again.
    """

    def __init__(self, pid: int) -> None:
        """Open the file of the process. The caller must `close`.

        Raises:
            OSError: no descriptor is left, or the process has ended.
        """
        self._pid = pid
        self._stat = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        self._read_at = time.monotonic()
        self._begun = self._read()
        self._at_birth = _parse(pid, self._begun)

    def begin(self) -> None:
        """Start to count the CPU time of a new job. Does nothing if the process has ended."""
        now = time.monotonic()
        if now - self._read_at < 1 / _TICKS:
            return
        with suppress(ProcessLookupError):
            self._begun, self._read_at = self._read(), now

    @property
    def cpu_s(self) -> float:
        """The CPU seconds at the beginning of the job."""
        return _parse(self._pid, self._begun).cpu_s

    def before(self) -> Process:
        """Return the usage that does not count for this job: memory at the fork, CPU time of earlier jobs."""
        return Process(self._pid, self.cpu_s, self._at_birth.resident_bytes)

    def now(self) -> Process:
        """Read the current usage of the process.

        Raises:
            ProcessLookupError: it has been reaped.
        """
        return _parse(self._pid, self._read())

    def _read(self) -> bytes:
        return os.pread(self._stat, 4096, 0)

    def close(self) -> None:
        os.close(self._stat)


def sizes(folder: Path) -> Iterator[int]:
    """Yield the bytes on disk of each entry in a folder and its subfolders. Unreadable entries are left out.

    Each step takes the same time at any depth. The walk neither recurses nor uses paths, which could become too
    long.
    """
    with suppress(OSError), ExitStack() as opened:
        here = _Here(os.open(folder, _FOLDER_FLAGS))
        opened.callback(here.close)
        levels: list[list[str]] = []
        while True:
            levels.append(names := [])
            with suppress(OSError), os.scandir(here.descriptor) as entries:
                for entry in entries:
                    with suppress(OSError):
                        yield entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        names.append(entry.name)
            while not (levels[-1] and here.enter(levels[-1].pop())):
                if not levels[-1]:
                    levels.pop()
                    if not levels:
                        return
                    here.leave()


class _Here:
    """The current folder of a walk. Mutable state: its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def enter(self, name: str) -> bool:
        """Enter a subfolder. Return False and stay if it cannot be opened, or `..` in it cannot be read."""
        try:
            below = os.open(name, _FOLDER_FLAGS, dir_fd=self.descriptor)
        except OSError:
            return False
        try:
            os.stat("..", dir_fd=below)
        except OSError:
            os.close(below)
            return False
        self.close()
        self.descriptor = below
        return True

    def leave(self) -> None:
        """Go back to the parent folder.

        Raises:
            OSError: the parent folder cannot be opened any more.
        """
        above = os.open("..", _FOLDER_FLAGS, dir_fd=self.descriptor)
        self.close()
        self.descriptor = above

    def close(self) -> None:
        os.close(self.descriptor)


def unlinked_bytes(pid: int) -> int:
    """Return the bytes on disk of deleted files that a process holds open."""
    total = 0
    with suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - names
            with suppress(OSError):
                found = Path(f"/proc/{pid}/fd/{descriptor}").stat()
                total += found.st_blocks * _BLOCK if found.st_nlink == 0 else 0
    return total
