"""Sets kernel limits for this process (setrlimit(2), prctl(2)), and lists its children and threads.

Only the forking processes and their children use this module. They import ctypes before the fork, because an
import in a worker would delay a job.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38

_libc: Final = ctypes.CDLL(None, use_errno=True)
# Unsigned longs: the kernel refuses no_new_privs unless the other arguments are zero in all 64 bits.
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


def die_with(parent: int) -> None:
    """Make the kernel kill this process when its parent, the process `parent`, ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the call
        os.kill(os.getpid(), signal.SIGKILL)


def outlive_parent() -> None:
    """Undo `die_with`, also if the program that started this process had set it."""
    _prctl(_PR_SET_PDEATHSIG, 0)


def adopt_orphans() -> None:
    """Make this process the new parent of all descendants whose parents end (prctl(2), subreaper)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def confine(bounds: Mapping[str, int | None]) -> None:
    """Permanently limit this process and all its descendants, and keep them from gaining privileges.

    `bounds`, each None for no limit: `memory`, bytes of writable memory beyond the present size; `file`, bytes of
    one file; `cpu`, CPU seconds of this process from its start.
    """
    os.umask(0o077)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)  # setuid programs, such as sudo, give no rights
    # With 0 instead of 1, the kernel would still pass a core dump to a program in core_pattern.
    _lower(resource.RLIMIT_CORE, 1)
    if (memory := bounds["memory"]) is not None:
        # RLIMIT_AS does not fit: runtimes of Java, JavaScript, Go and CUDA reserve tens of GiB of addresses.
        _lower(resource.RLIMIT_DATA, _data_bytes() + memory)
    if (file := bounds["file"]) is not None:
        _lower(resource.RLIMIT_FSIZE, file)
    if (cpu := bounds["cpu"]) is not None:
        _lower(resource.RLIMIT_CPU, cpu, cpu + 1)  # first SIGXCPU, which shows the reason; then SIGKILL


def _lower(limit: int, soft: int, hard: int | None = None) -> None:
    """Set a soft and a hard limit, but not above the present hard limit, which the kernel would refuse."""
    _, given = resource.getrlimit(limit)
    values = (soft, soft if hard is None else hard)
    resource.setrlimit(
        limit, values if given == resource.RLIM_INFINITY else (min(soft, given), min(values[1], given))
    )


def _data_bytes() -> int:
    """Return the bytes that count against RLIMIT_DATA: private writable memory, including the stack.

    It uses plain system calls: a Path and a text file would write to some 320 pages of a new worker, and the
    kernel would copy each of them, which takes 1 ms.
    """
    statm = os.open("/proc/self/statm", os.O_RDONLY)
    pages = os.read(statm, 200).split()[5]
    os.close(statm)
    return int(pages) * resource.getpagesize()


def children() -> set[int]:
    """Return the children of this thread; an empty set if the kernel does not list them (CONFIG_PROC_CHILDREN)."""
    try:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text(encoding="ascii")
    except FileNotFoundError:
        return set()
    return set(map(int, text.split()))


def threads() -> int:
    """Return the number of threads of this process, including those of native libraries."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def has_children() -> bool:
    """Return whether this process has a child, running or not yet reaped. Needs one system call."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def has_room_for_descriptors() -> bool:
    """Return whether at least half of the allowed descriptors are free, judged by the lowest free number."""
    try:
        lowest = os.dup(0)
    except OSError:  # no descriptor is free, or stdin was closed
        return False
    os.close(lowest)
    return lowest < resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2


def flush_c_stdio() -> None:
    """Write the C library's buffers, in which native code may have left output."""
    _libc.fflush(None)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
