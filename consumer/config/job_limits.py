"""The limits of a job: their defaults, the check whether one is exceeded, and the messages about it.

Pure: no clock, no process, no file. The resource monitor passes its measurements to `excess`. `excess_at_end`
derives the limit that ended a process from its signal, or from the end of its stderr.
"""

from __future__ import annotations

import math
import re
import signal
from dataclasses import dataclass

from consumer.config.units import limit
from consumer.values import value

#: A process that loads scikit-learn and a model of 100 trees has 0.2 GB; two slots fit into a machine of 6 GiB.
MAX_MEMORY_BYTES = 2 * 1024**3
#: The default CPU time, per second of the time limit: two CPUs. A job has one thread, and its helper processes
#: should be short.
CPU_PER_RUN_TIME = 2.0
#: A classifier is one process, a pipeline in a shell has a few, joblib one for each CPU.
MAX_PROCESSES = 64
#: A job's input is a file of some MiB: space to unpack it a hundred times over.
MAX_FOLDER_BYTES = 1024**3
#: Disk space that the job files of all slots, and the rest of the machine, need to continue.
MIN_FREE_BYTES = 64 * 1024**2
#: A traceback through a few libraries.
STDERR_TAIL_BYTES = 4096

#: The kernel's limit of CPU seconds is higher than the monitor's by this, so it acts only if the monitor does not.
CPU_BACKUP_S = 5


@value(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one run: wall time and CPU time in seconds, the rest in bytes except `max_processes`.

    `max_memory_bytes` limits the memory of all processes together, without the memory that a warm worker had after
    its fork. `max_folder_bytes` limits the data in the job's folder. `min_free_bytes` is the space that must stay
    free on that disk.
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
        """The CPU seconds that all processes of the job may use together."""
        return self.max_cpu_s or CPU_PER_RUN_TIME * self.timeout_s

    def bounds(self, *, jobs: int = 1) -> dict[str, int | None]:
        """Return the limits that the kernel enforces on each process, for classifier/child/confinement.py.

        CPU time has a limit only if the process runs one job and ends, because the kernel counts from the start of
        the process.
        """
        cpu = math.ceil(self.cpu_s) + CPU_BACKUP_S if jobs == 1 else None
        return {"memory": self.max_memory_bytes, "file": self.max_folder_bytes, "cpu": cpu}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The resources that a run uses, or has used so far, as measured by runners/resource_monitor.py."""

    memory_bytes: int = 0
    cpu_s: float = 0.0
    processes: int = 0
    folder_bytes: int = 0


def excess(taken: Taken, limits: Limits) -> str | None:
    """Describe the exceeded limit; None if no limit is exceeded."""
    if taken.processes > limits.max_processes:
        return f"more than {limits.max_processes} processes at once (max_processes)"
    if taken.memory_bytes > limits.max_memory_bytes:
        return f"more than {limit(limits.max_memory_bytes)} of memory (max_memory_bytes)"
    if taken.folder_bytes > limits.max_folder_bytes:
        return f"more than {limit(limits.max_folder_bytes)} in its folder (max_folder_bytes)"
    if taken.cpu_s > limits.cpu_s:
        return f"more than {limits.cpu_s:g} s of CPU time (max_cpu_s)"
    return None


def disk_shortage(limits: Limits, *, free: int, written: int) -> str:
    """Report that the disk is short, and why this run is ended; `free` and `written` are in bytes."""
    return (
        f"less than {limit(limits.min_free_bytes)} left free in job_dir (min_free_bytes): {limit(free)}, and of "
        f"the running jobs this one has written the most there, {limit(written)}"
    )


#: The messages of Python, numpy, C++, Rust, Java, Node.js and the C library.
_OUT_OF_MEMORY = re.compile(
    r"MemoryError|bad_alloc|[Oo]ut ?[Oo]f ?[Mm]emory|Cannot allocate memory|memory allocation of"
)
_FILE_TOO_LARGE = re.compile(r"File too large|EFBIG")
#: The characters of stderr to search: the last message. Before it may be warnings that the program survived.
_LAST_WORDS_LENGTH = 400


def excess_at_end(returncode: int | None, last_words: str, limits: Limits) -> str | None:
    """Describe the limit that made a process end without a result; None if no limit is known to be the cause.

    The signal or the end of stderr shows the limit. If the kernel refuses memory or a larger file, the program
    ends by itself, usually with the system's error message.
    """
    memory = f"no more memory within {limit(limits.max_memory_bytes)} (max_memory_bytes)"
    file = f"a file of more than {limit(limits.max_folder_bytes)} (max_folder_bytes)"
    if returncode == -signal.SIGXFSZ:
        return file
    if returncode == -signal.SIGXCPU:
        return f"more than {limits.cpu_s:g} s of CPU time (max_cpu_s)"
    if not returncode:  # it reported no fault, or its exit code is unknown
        return None
    last = last_words[-_LAST_WORDS_LENGTH:]
    if _OUT_OF_MEMORY.search(last):
        return memory
    return file if _FILE_TOO_LARGE.search(last) else None
