"""Finds other state of an import that all workers share: memory that they all write to, and running processes.

Parent and children share a mapping with MAP_SHARED, even after its file is closed, so a job may read data of
another job. A process that the import has started serves all workers, and the fork server kills it when it reaps
the first worker. Both are only reported. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from classifier.child import confinement
from classifier.child.descriptors import Opened

#: A line of /proc/self/maps for a shared and writable mapping: from, to, rights, offset, device, inode, path.
_SHARED: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) .w.s [0-9a-f]+ \S+ \d+ *(.*)")
#: Locks between processes, such as those of multiprocessing and tqdm: processes are meant to share them.
_LOCK: Final = "/dev/shm/sem."  # noqa: S108 - as the C library names them
_NAMELESS: Final = "/dev/zero (deleted)"


def found(opened: Sequence[Opened]) -> list[str]:
    """Describe the memory and the processes that workers share, except memory of files in `opened`."""
    return [*_memory(opened), *map(_process, sorted(confinement.children()))]


def _memory(opened: Sequence[Opened]) -> list[str]:
    known = {one.what for one in opened}
    text = Path("/proc/self/maps").read_text(encoding="utf-8", errors="backslashreplace")
    sizes: dict[str, int] = {}
    for first, end, path in _SHARED.findall(text):
        if not path.startswith(_LOCK) and not any(path in what for what in known if path):
            sizes[path] = sizes.get(path, 0) + int(end, 16) - int(first, 16)
    return [f"memory of {size:,} bytes{_behind(path)} that is mapped for writing" for path, size in sizes.items()]


def _behind(path: str) -> str:
    return "" if path in ("", _NAMELESS) else f" of {path}"


def _process(pid: int) -> str:
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="backslashreplace").strip()
    except OSError:  # it has ended
        name = "that has ended"
    return f"process {pid} ({name})"
