"""Checks that the limits of a job fit the machine, and each other.

As in machine.py, one function queries the system and a pure one judges. A limit that can never be reached is a
warning, because it may be intended; a limit that ends every job, or every large job, is a failure.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from consumer.config.cpu_count import cgroup_folders, usable_cpus
from consumer.config.settings import Settings
from consumer.config.units import limit
from consumer.preflight.context import Site, in_daemon_thread
from consumer.preflight.finding import Finding, failure, mib, ok, warning

#: The processes of bubblewrap itself. They count as processes of the job.
SANDBOX_PROCESSES = 2
#: The processes and threads of the service and of the fork server; and per slot, the old and the new worker.
PROCESSES_OF_OURS = 32
PROCESSES_PER_SLOT = 2
CGROUPS = Path("/sys/fs/cgroup")


async def contradictions(site: Site) -> list[Finding]:
    """Compare the limits with each other, and with the CPUs."""
    settings = site.settings
    missing = await in_daemon_thread(lambda: [path for path in settings.sandbox_paths if not path.exists()])
    found = judged_limits(settings, usable_cpus()) + judged_sandbox(settings, missing)
    return found or [ok("fit each other")]


def judged_limits(settings: Settings, cpus: int) -> list[Finding]:
    """Find limits that contradict each other, or that cannot be reached."""
    found = []
    if settings.max_line_bytes > settings.max_stdout_bytes:
        found.append(
            warning(
                f"a result may have {limit(settings.max_line_bytes)} (max_line_bytes), but all that a job prints "
                f"only {limit(settings.max_stdout_bytes)} (max_stdout_bytes)",
                "raise max_stdout_bytes, or lower max_line_bytes",
            )
        )
    most_cpu_s = settings.longest_timeout_s * cpus
    if settings.max_cpu_s is not None and settings.max_cpu_s > most_cpu_s:
        found.append(
            warning(
                f"max_cpu_s is {settings.max_cpu_s:g}, and {cpus} CPUs give a job {most_cpu_s:g} s in the longest "
                "time it may run: it is never reached",
                "lower max_cpu_s, or leave it out for twice the run time",
            )
        )
    return found


def judged_sandbox(settings: Settings, missing: Sequence[Path]) -> list[Finding]:
    """Find settings of the sandbox that kill every job, name missing files, or have no effect."""
    found = []
    if settings.sandbox and settings.max_processes <= SANDBOX_PROCESSES:
        found.append(
            failure(
                f"max_processes is {settings.max_processes}, and the sandbox alone needs {SANDBOX_PROCESSES}: "
                "every job is killed",
                f"raise max_processes to {SANDBOX_PROCESSES + 1} at least",
            )
        )
    if settings.sandbox_paths and not settings.sandbox:
        found.append(
            warning("sandbox_paths is set, but sandbox is not: no program is sandboxed", "set sandbox to true")
        )
    found += [warning(f"sandbox_paths names {path}, which does not exist", "correct the path") for path in missing]
    return found


async def memory(site: Site) -> list[Finding]:
    """Compare the memory limits of all jobs with the memory of the machine, or of the control group."""
    return [judged_memory(site.settings, await in_daemon_thread(usable_memory))]


def usable_memory(proc: Path = Path("/proc/self/cgroup"), root: Path = CGROUPS) -> int:
    """Return the bytes of memory that this process may use, its page cache included."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_numbers(proc, root, "memory", ("memory.max", "memory.limit_in_bytes"))])


def judged_memory(settings: Settings, usable: int) -> Finding:
    """Compare the limit of one job, then of all together, with the memory."""
    each, slots = settings.max_memory_bytes, settings.pool_size
    available = f"{mib(usable)} of memory here"
    if each > usable:
        return warning(
            f"one job may have {mib(each)} (max_memory_bytes), and there are {available}: the kernel ends a "
            "process before the limit does",
            "lower max_memory_bytes, or give the service more memory",
        )
    if each * slots > usable:
        return warning(
            f"{slots} jobs at once may have {mib(each * slots)} (pool_size times max_memory_bytes), and there "
            f"are {available}: the kernel may end a process",
            f"lower max_memory_bytes to {usable // slots}, or pool_size; leave both if jobs use much less",
        )
    return ok(f"{available}, jobs take {mib(each * slots)} at most")


async def processes(site: Site) -> list[Finding]:
    """Compare the number of processes with the kernel's limits."""
    return [judged_processes(site.settings, await in_daemon_thread(usable_processes))]


def usable_processes(proc: Path = Path("/proc/self/cgroup"), root: Path = CGROUPS) -> int | None:
    """Return the allowed number of processes and threads; None: no limit.

    The limit per user does not apply to root.
    """
    own = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    of_user = [own] if own != resource.RLIM_INFINITY and os.geteuid() else []
    return min([*of_user, *_numbers(proc, root, "pids", ("pids.max",))], default=None)


def judged_processes(settings: Settings, limit: int | None) -> Finding:
    """Compare the processes that the slots need, then those that jobs may start, with the limit."""
    slots = settings.pool_size
    needed = PROCESSES_OF_OURS + slots * (PROCESSES_PER_SLOT + (SANDBOX_PROCESSES if settings.sandbox else 0))
    allowed = PROCESSES_OF_OURS + slots * settings.max_processes
    if limit is not None and limit < needed:
        return failure(
            f"{slots} slots may need {needed} processes and threads, and the limit is {limit}",
            "raise it (`ulimit -u`; TasksMax= in systemd; pids of a container), or lower pool_size",
        )
    if limit is not None and limit < allowed:
        return warning(
            f"{slots} jobs at once may have {slots * settings.max_processes} processes (pool_size times "
            f"max_processes), and the limit is {limit}: one can leave none for the others",
            "lower max_processes, or raise the limit (TasksMax= in systemd; pids of a container)",
        )
    return ok(f"{allowed} at most, the limit is {'off' if limit is None else limit}")


def _numbers(proc: Path, root: Path, controller: str, names: Sequence[str]) -> list[int]:
    """Read the limits of this control group and of all above it."""
    found = []
    for path in (folder / name for folder in cgroup_folders(proc, root, controller) for name in names):
        with suppress(OSError):  # the file does not exist
            text = path.read_text().strip()
            found += [int(text)] if text.isdecimal() else []
    return found
