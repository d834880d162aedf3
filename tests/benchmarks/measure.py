"""What a tree of processes costs, as Linux counts it: CPU time with that of reaped children, and memory.

CPU time comes in ticks of 10 ms, so a run must take much longer than that. Memory is PSS: a page that n processes
share counts 1/n in each, so that the sum over a tree is what the tree takes.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
#: From SIGTERM to SIGKILL. Celery and FastStream wait for what runs.
STOP_S = 15.0


@dataclass(frozen=True)
class Process:
    """One living process. `began` tells it from a later one with the same number."""

    pid: int
    parent: int
    began: int
    own_ticks: int
    reaped_ticks: int

    @classmethod
    def read(cls, pid: int) -> Process:
        """Read /proc/PID/stat.

        Raises:
            OSError: it is gone.
        """
        # After the name, which may hold spaces and brackets. See proc(5) for the places.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return cls(
            pid=pid,
            parent=int(fields[1]),
            began=int(fields[19]),
            own_ticks=int(fields[11]) + int(fields[12]),
            reaped_ticks=int(fields[13]) + int(fields[14]),
        )


def tree(root: int) -> list[Process]:
    """The process and all its descendants, as they are now."""
    children: dict[int, list[Process]] = {}
    for process in _all():
        children.setdefault(process.parent, []).append(process)
    with suppress(OSError):
        found = [Process.read(root)]
        for process in found:  # grows while it is walked
            found.extend(children.get(process.pid, ()))
        return found
    return []


def _all() -> Iterator[Process]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield Process.read(int(folder.name))


def tree_cpu_s(root: int) -> float:
    """CPU time of the tree since its birth, with that of children that ended and were waited for."""
    return sum(process.own_ticks + process.reaped_ticks for process in tree(root)) / _TICKS_PER_S


def own_cpu_s(pid: int) -> float:
    """CPU time of one process, without its children."""
    return Process.read(pid).own_ticks / _TICKS_PER_S


def tree_pss_mb(root: int) -> float:
    """Memory of the tree in MB (10^6 bytes)."""
    return sum(_pss_bytes(process.pid) for process in tree(root)) / 1e6


def _pss_bytes(pid: int) -> int:
    """Of a process that hides its memory from its own user (the consumer), all that it has in RAM: no less."""
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        try:
            return _shown_pss_bytes(pid)
        except PermissionError:
            return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _shown_pss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (number - 1) & 1)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, and make sure that nothing of its tree is left."""
    members = tree(process.pid)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    for member in members:
        with suppress(OSError):
            if Process.read(member.pid).began == member.began:
                os.kill(member.pid, signal.SIGKILL)
    process.wait()
