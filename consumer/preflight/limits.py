"""Checks that the limits of a job fit the machine, and each other.

As in machine.py, one function queries the system and a pure one judges. A limit that can never be reached is a
warning, because it may be intended; one that ends every job, or every large one, is a failure.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from consumer.config.cpu_count import cgroup_folders, usable_cpus
from consumer.config.settings import Settings
from consumer.preflight.context import Site, aside
from consumer.preflight.finding import Finding, failure, mib, ok, warning

#: bubblewrap is two processes around the program, and counted with it.
SANDBOX_PROCESSES = 2
#: The service, what it forks with, their threads; and each slot's new worker beside the old one.
PROCESSES_OF_OURS = 32
PROCESSES_PER_SLOT = 2
CGROUPS = Path("/sys/fs/cgroup")


async def contradictions(site: Site) -> list[Finding]:
    """Compare the limits with each other, and with the CPUs."""
    settings = site.settings
    missing = await aside(lambda: [path for path in settings.sandbox_paths if not path.exists()])
    found = judged_limits(settings, usable_cpus()) + judged_sandbox(settings, missing)
    return found or [ok("fit each other")]


def judged_limits(settings: Settings, cpus: int) -> list[Finding]:
    """Find limits that violate another one, or that cannot be reached."""
    found = []
    if settings.max_line_bytes > settings.max_stdout_bytes:
        found.append(
            warning(
                f"a result may have {settings.max_line_bytes} bytes (max_line_bytes), but all that a job prints "
                f"only {settings.max_stdout_bytes} (max_stdout_bytes)",
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
    """Find files that the sandbox cannot show, and a sandbox that does not exist."""
    found = []
    if settings.sandbox and settings.max_processes <= SANDBOX_PROCESSES:
        found.append(
            failure(
                f"max_processes is {settings.max_processes}, and the sandbox alone is {SANDBOX_PROCESSES}: every "
                "job is killed",
                f"raise max_processes to {SANDBOX_PROCESSES + 1} at least",
            )
        )
    if settings.sandbox_paths and not settings.sandbox:
        found.append(
            warning("sandbox_paths is set, but sandbox is not: no program is sandboxed", "set sandbox to true")
        )
    found += [
        warning(f"sandbox_paths names {path}, which is not there: programs will not find it", "correct the path")
        for path in missing
    ]
    return found


async def memory(site: Site) -> list[Finding]:
    """Compare the memory limits of all jobs with the memory of the machine, or of the control group."""
    return [judged_memory(site.settings, await aside(usable_memory))]


def usable_memory(proc: Path = Path("/proc/self/cgroup"), root: Path = CGROUPS) -> int:
    """Return the bytes of memory that this process may use, its page cache included."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_numbers(proc, root, "memory", ("memory.max", "memory.limit_in_bytes"))])


def judged_memory(settings: Settings, usable: int) -> Finding:
    """Judge one job first, then all together."""
    each, slots = settings.max_memory_bytes, settings.pool_size
    told = f"{mib(usable)} of memory here"
    if each > usable:
        return warning(
            f"one job may have {mib(each)} (max_memory_bytes), and there are {told}: the kernel ends something "
            "before the limit does",
            "lower max_memory_bytes, or give the service more memory",
        )
    if each * slots > usable:
        return warning(
            f"{slots} jobs at once may have {mib(each * slots)} (pool_size times max_memory_bytes), and there "
            f"are {told}: the kernel may end something",
            f"lower max_memory_bytes to {usable // slots}, or pool_size; leave both where jobs take much less",
        )
    return ok(f"{told}, jobs take {mib(each * slots)} at most")


async def processes(site: Site) -> list[Finding]:
    """Compare the number of processes with the kernel's limits."""
    return [judged_processes(site.settings, await aside(usable_processes))]


def usable_processes(proc: Path = Path("/proc/self/cgroup"), root: Path = CGROUPS) -> int | None:
    """Return the allowed number of processes, threads included; None for no limit. Root has no own limit."""
    own = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    of_user = [own] if own != resource.RLIM_INFINITY and os.geteuid() else []
    return min([*of_user, *_numbers(proc, root, "pids", ("pids.max",))], default=None)


def judged_processes(settings: Settings, limit: int | None) -> Finding:
    """Judge by the needs of the slots, without the processes that jobs may start."""
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
    """Read a limit of this control group and of all above it, if there is one."""
    found = []
    for path in (folder / name for folder in cgroup_folders(proc, root, controller) for name in names):
        with suppress(OSError):  # it is not there
            text = path.read_text().strip()
            found += [int(text)] if text.isdecimal() else []
    return found
