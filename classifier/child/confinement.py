"""Sets kernel limits for this process with Linux's prctl(2), and lists its children.

Only the forking processes and their children use it. They import modules that need ctypes before the fork, because
an import in a worker would delay a job.
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


def die_with(parent: int) -> None:
    """Make the kernel kill this process when its parent, the process `parent`, ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call
        os.kill(os.getpid(), signal.SIGKILL)


def outlive_parent() -> None:
    """Undo `die_with`, or the same setting by the program that started this one."""
    _prctl(_PR_SET_PDEATHSIG, 0)


def adopt_orphans() -> None:
    """Become the parent of all descendants whose parents end, in any session (prctl(2), subreaper)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def confine(bounds: Mapping[str, int | None]) -> None:
    """Permanently remove rights and resources from this process and all its descendants.

    `bounds`, each None for no limit: `memory`, bytes of writable memory beyond the present size; `file`, bytes of
    one file; `cpu`, seconds of this process in its whole life.
    """
    os.umask(0o077)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)  # no setuid program, such as sudo, adds rights
    # 1 and not 0: with 0 the kernel still passes a core dump to a program in core_pattern.
    _lower(resource.RLIMIT_CORE, 1)
    if (memory := bounds["memory"]) is not None:
        # Not RLIMIT_AS: runtimes of Java, JavaScript, Go and CUDA reserve addresses by the tens of GiB.
        _lower(resource.RLIMIT_DATA, _data_bytes() + memory)
    if (file := bounds["file"]) is not None:
        _lower(resource.RLIMIT_FSIZE, file)
    if (cpu := bounds["cpu"]) is not None:
        _lower(resource.RLIMIT_CPU, cpu, cpu + 1)  # at the first SIGXCPU, which says why; at the second SIGKILL


def _lower(limit: int, soft: int, hard: int | None = None) -> None:
    """Set a limit, the hard one too; never above the present hard limit, which the kernel would refuse."""
    _, given = resource.getrlimit(limit)
    values = (soft, soft if hard is None else hard)
    resource.setrlimit(
        limit, values if given == resource.RLIM_INFINITY else (min(soft, given), min(values[1], given))
    )


def _data_bytes() -> int:
    """Return the bytes that count against RLIMIT_DATA: private writable memory, including the stack."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize()


def children() -> set[int]:
    """Return the children of this thread. None if the kernel does not list them (CONFIG_PROC_CHILDREN)."""
    try:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text(encoding="ascii")
    except FileNotFoundError:
        return set()
    return set(map(int, text.split()))


def threads() -> int:
    """Return the number of threads of this process, including those of native libraries."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def has_children() -> bool:
    """Whether any child lives, or is dead and not reaped. One system call."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def has_room_for_descriptors() -> bool:
    """Whether at least half of the allowed descriptors are free. The lowest free number shows this."""
    try:
        lowest = os.dup(0)
    except OSError:  # none is, or stdin was closed
        return False
    os.close(lowest)
    return lowest < resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2


def flush_c_stdio() -> None:
    """Write out the buffers that native code has left in the C library."""
    _libc.fflush(None)


def _prctl(option: int, value: int) -> None:
    # As unsigned longs: the kernel refuses no_new_privs unless the other arguments are zero in all 64 bits.
    if _libc.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
