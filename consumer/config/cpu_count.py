"""Counts the CPUs that this process may use: the default size of the pool.

`os.cpu_count()` counts all CPUs of the machine, which is wrong in a container: the affinity mask and the quota of
each parent control group limit the process, too (cgroup v2 `cpu.max`, v1 `cpu.cfs_quota_us`). Reads files, sets
nothing.
"""

from __future__ import annotations

import math
import os
from pathlib import Path


def usable_cpus(
    *,
    affinity: int | None = None,
    proc: Path = Path("/proc/self/cgroup"),
    root: Path = Path("/sys/fs/cgroup"),
) -> int:
    """Count the CPUs that affinity and cgroup quota allow, at least 1. A fraction counts as a whole CPU."""
    allowed = len(os.sched_getaffinity(0)) if affinity is None else affinity
    quotas = [quota for folder in cgroup_folders(proc, root, "cpu") if (quota := _quota(folder)) is not None]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


def cgroup_folders(proc: Path, root: Path, name: str) -> list[Path]:
    """List this process's group of a controller and its parents, for v2 (`0::/path`) and v1 (`4:cpu:/path`)."""
    folders = []
    for line in _lines(proc):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            hierarchy = root
        elif name in controllers.split(","):
            hierarchy = root / name
        else:
            continue
        group = hierarchy / path.lstrip("/")
        folders += [group, *(above for above in group.parents if above.is_relative_to(hierarchy))]
    return folders


def _quota(folder: Path) -> float | None:
    """Read the group's CPU quota in CPUs; None: no limit."""
    quota, period = next(iter(_lines(folder / "cpu.max")), "max 0").split()
    if quota != "max":
        return int(quota) / int(period)
    quota, period = (next(iter(_lines(folder / f"cpu.cfs_{name}_us")), "-1") for name in ("quota", "period"))
    return int(quota) / int(period) if int(quota) > 0 else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
