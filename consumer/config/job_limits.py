"""What a job may take, the default of each with its reason, and the words for what went over.

Pure: no clock, no process, no file. The settings name the defaults; whoever measures asks here whether it is too
much; which limit was the cause of an end is read here from the signal, or from the last words on stderr.
"""

from __future__ import annotations

import math
import re
import signal
from dataclasses import dataclass

#: A process that loads scikit-learn and a model of 100 trees has 0.2 GB; two slots fit into a machine of 6 GiB.
MAX_MEMORY_BYTES = 2 * 1024**3
#: As much as two CPUs do in all of its run time: a job is given one thread, and its helpers are to be short.
CPU_PER_RUN_TIME = 2.0
#: A classifier is one process, a pipeline in a shell has a few, joblib one for each CPU.
MAX_PROCESSES = 64
#: A job gets its input in a file of some MiB: room for unpacking it a hundred times over.
MAX_FOLDER_BYTES = 1024**3
#: What the job files of all slots, and the rest of the machine, need to go on.
MIN_FREE_BYTES = 64 * 1024**2
#: A traceback through a few libraries.
STDERR_TAIL_BYTES = 4096

#: The kernel's own limit on CPU seconds is only there for the case that we do not look: later than ours.
CPU_BACKUP_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may take: wall time and CPU time in seconds, the rest in bytes but for `max_processes`.

    `max_memory_bytes` is what its processes have together beyond what a warm worker was forked with;
    `max_folder_bytes` what it has written to its folder; `min_free_bytes` what must be left free on that disk.
    """

    timeout_s: float
    max_line_bytes: int
    max_stdout_bytes: int
    stderr_tail_bytes: int = STDERR_TAIL_BYTES
    max_memory_bytes: int = MAX_MEMORY_BYTES
    max_cpu_s: float | None = None
    max_processes: int = MAX_PROCESSES
    max_folder_bytes: int = MAX_FOLDER_BYTES
    min_free_bytes: int = MIN_FREE_BYTES

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all its processes together."""
        return self.max_cpu_s or CPU_PER_RUN_TIME * self.timeout_s

    def bounds(self, *, jobs: int = 1) -> dict[str, int | None]:
        """What the kernel is to enforce on each process, as classifier/child/confinement.py takes it.

        CPU time only where the process runs one job and ends: the kernel counts from its birth.
        """
        cpu = math.ceil(self.cpu_s) + CPU_BACKUP_S if jobs == 1 else None
        return {"memory": self.max_memory_bytes, "file": self.max_folder_bytes, "cpu": cpu}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a run's processes have at one moment, or have taken until then (runners/resource_monitor.py)."""

    memory_bytes: int = 0
    cpu_s: float = 0.0
    processes: int = 0
    folder_bytes: int = 0


def excess(taken: Taken, limits: Limits) -> str | None:
    """Say which limit was passed; None if none was."""
    if taken.processes > limits.max_processes:
        return f"more than {limits.max_processes} processes at once (max_processes)"
    if taken.memory_bytes > limits.max_memory_bytes:
        return f"more than {limits.max_memory_bytes} bytes of memory (max_memory_bytes)"
    if taken.folder_bytes > limits.max_folder_bytes:
        return f"more than {limits.max_folder_bytes} bytes in its folder (max_folder_bytes)"
    if taken.cpu_s > limits.cpu_s:
        return f"more than {limits.cpu_s:g} s of CPU time (max_cpu_s)"
    return None


def too_little_room(limits: Limits, *, free: int, written: int) -> str:
    """Say that the disk is short, and why it is this run that ends; `free` and `written` are in bytes."""
    return (
        f"less than {limits.min_free_bytes} bytes left free in job_dir (min_free_bytes): {free}, and of the "
        f"running jobs this one has written the most there, {written} bytes"
    )


#: How Python, numpy, C++, Rust, Java, Node.js and the C library's messages put it.
_OUT_OF_MEMORY = re.compile(
    r"MemoryError|bad_alloc|[Oo]ut ?[Oo]f ?[Mm]emory|Cannot allocate memory|memory allocation of"
)
_FILE_TOO_LARGE = re.compile(r"File too large|EFBIG")
#: A message and not the whole tail: what was warned of and survived lies further up.
_LAST_WORDS_LENGTH = 400


def excess_at_end(returncode: int | None, last_words: str, limits: Limits) -> str | None:
    """Say which limit made a process end without an answer, as far as its signal or the end of its stderr tells.

    A program that is refused memory, or a larger file, ends by itself: in its own words, mostly the system's.
    """
    memory = f"no more memory within {limits.max_memory_bytes} bytes (max_memory_bytes)"
    file = f"a file of more than {limits.max_folder_bytes} bytes (max_folder_bytes)"
    if returncode == -signal.SIGXFSZ:
        return file
    if returncode == -signal.SIGXCPU:
        return f"more than {limits.cpu_s:g} s of CPU time (max_cpu_s)"
    if not returncode:  # it saw no fault itself, or nobody knows
        return None
    last = last_words[-_LAST_WORDS_LENGTH:]
    if _OUT_OF_MEMORY.search(last):
        return memory
    return file if _FILE_TOO_LARGE.search(last) else None
