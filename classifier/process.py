"""What the kernel does about processes when it is asked to: Linux's prctl(2), and who our children are.

Only for the fork server and its workers. All through ctypes, which must be imported before the fork: a worker
that imports is a worker that waits.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

_libc: Final = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent, the process `parent`, ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def outlive_parent() -> None:
    """Take back what `die_with`, or whoever started us, asked for."""
    _prctl(_PR_SET_PDEATHSIG, 0)


def adopt_orphans() -> None:
    """Become the parent of all descendants whose parents end, wherever they moved to (prctl(2), subreaper)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> set[int]:
    """The processes whose parent this thread is. None where the kernel does not tell (CONFIG_PROC_CHILDREN)."""
    try:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text(encoding="ascii")
    except FileNotFoundError:
        return set()
    return set(map(int, text.split()))


def threads() -> int:
    """How many threads this process has, those of native libraries included."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


def has_children() -> bool:
    """Whether any child lives, or is dead and not reaped. One system call."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def flush_c_stdio() -> None:
    """Write out what native code has left in the C library's buffers."""
    _libc.fflush(None)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
