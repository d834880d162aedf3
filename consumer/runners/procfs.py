"""What Linux tells about processes and a folder: who descends from whom, what each has and has used.

Only reads, and never raises over a process that ends meanwhile: it is then simply not there. Decides nothing.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
#: What stat(2) counts blocks in, whatever the file system's are.
_BLOCK = 512
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Process:
    """One process, dead ones that nobody has reaped included: its CPU seconds, and its resident bytes now.

    CPU seconds are those of all its threads, and of its children that it has waited for.
    """

    pid: int
    cpu_s: float
    resident_bytes: int


def look(pid: int) -> Process | None:
    """Look at a process; None if there is none."""
    try:
        return _parse(pid, Path(f"/proc/{pid}/stat").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return None


def _parse(pid: int, stat: bytes) -> Process:
    """Read proc(5)'s fields from the third on; the second is a name that may hold anything."""
    fields = stat[stat.rindex(b")") + 2 :].split()
    return Process(pid, sum(map(int, fields[11:15])) / _TICKS, int(fields[21]) * _PAGE)


def descendants(pid: int) -> Iterator[Process]:
    """Give the children of a process, theirs, and so on; one by one: nobody has to see all of a fork bomb."""
    waiting = deque([pid])
    seen = {pid}
    while waiting:
        for child in _children(waiting.popleft()):
            if child not in seen and (process := look(child)):  # a parent's end may move it while we look
                seen.add(child)
                waiting.append(child)
                yield process


def _children(pid: int) -> list[int]:
    """Of each of its threads; none where the kernel does not tell (CONFIG_PROC_CHILDREN)."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_bytes().split())
    return found


def proportional_bytes(process: Process) -> int:
    """Give the memory of a process, each page divided by how many share it. Slow: the kernel looks at all."""
    return _mapped(process, b"Pss:")


def private_bytes(process: Process) -> int:
    """Give the memory of a process that it shares with no other."""
    return _mapped(process, b"Private_Clean:", b"Private_Dirty:")


def _mapped(process: Process, *names: bytes) -> int:
    """Of a process that hides it, all that is resident."""
    try:
        return sum(_kibibytes(f"/proc/{process.pid}/smaps_rollup", name) for name in names)
    except PermissionError:
        return process.resident_bytes
    except OSError:  # it has ended
        return 0


def peak_bytes(pid: int) -> int:
    """Give the most resident bytes that a process has had; a warm worker begins anew with each job."""
    with suppress(OSError):
        return _kibibytes(f"/proc/{pid}/status", b"VmHWM:")
    return 0


def _kibibytes(file: str, name: bytes) -> int:
    for line in Path(file).read_bytes().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


class Meter:
    """Measures what one process has used for each of its jobs. Its file is opened once: a job may be short.

    Mutable state: CPU seconds at the beginning of the job.
    """

    def __init__(self, pid: int) -> None:
        """Open; `close` afterwards.

        Raises:
            OSError: no descriptor is left, or the process has ended.
        """
        self._pid = pid
        self._stat = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        self.at_birth = self.now()
        self.cpu_s = self.at_birth.cpu_s

    def begin(self) -> None:
        """A job begins: count from here. An ended process counts nothing."""
        with suppress(ProcessLookupError):
            self.cpu_s = self.now().cpu_s

    def now(self) -> Process:
        """Look at the process.

        Raises:
            ProcessLookupError: it has been reaped.
        """
        return _parse(self._pid, os.pread(self._stat, 4096, 0))

    def close(self) -> None:
        """Close."""
        os.close(self._stat)


def sizes(folder: Path) -> Iterator[int]:
    """Give the bytes on disk of each thing in a folder, and below; what is closed to us, or gone, is left out.

    Each step takes the same time, at any depth: it neither recurses nor needs paths, which may be too long.
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
    """A folder that is being walked through. Mutable state: its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def enter(self, name: str) -> bool:
        """Go to a subfolder; return False and stay where it is gone, or cannot be left again."""
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
        """Go back to the folder above.

        Raises:
            OSError: it was closed meanwhile.
        """
        above = os.open("..", _FOLDER_FLAGS, dir_fd=self.descriptor)
        self.close()
        self.descriptor = above

    def close(self) -> None:
        """Close."""
        os.close(self.descriptor)


def unlinked_bytes(pid: int) -> int:
    """Give the bytes on disk of files that a process holds open and that have no name any more."""
    total = 0
    with suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - names
            with suppress(OSError):
                found = Path(f"/proc/{pid}/fd/{descriptor}").stat()
                total += found.st_blocks * _BLOCK if found.st_nlink == 0 else 0
    return total
