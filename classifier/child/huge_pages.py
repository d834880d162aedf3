"""Moves the memory of this process into huge pages, so that a fork copies less.

A fork copies an entry for each page of 4 KiB, and the end of the child removes it again. A huge page is one entry
for 2 MiB. When the child writes to it, the kernel splits the entry and copies 4 KiB.

The move takes 60 ms once with scikit-learn (106 MB), and saves 1.5 of the 6 ms of a fork and its end. With a model
of 400 MB, it takes 0.6 s and saves 21 of 22 ms. It changes no content, and does nothing before Linux 6.1 or where
huge pages are off. Standard library only.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: linux/mman.h. Unlike MADV_HUGEPAGE it acts at once, and the memory that workers allocate later stays as it is.
_MADV_COLLAPSE: Final = 25
#: On x86-64, and on arm64 with pages of 4 KiB. With another size the kernel rounds or refuses.
_HUGE: Final = 2 * 1024 * 1024
#: Private writable memory without a file: the C library's heap, and its mappings for large blocks.
_MAPPING: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw-p \S+ 00:00 0 +(?:\[heap\])?$", re.MULTILINE)

_libc: Final = ctypes.CDLL(None)
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def collapse() -> None:
    """Move all memory that fills huge pages.

    The kernel skips memory that it cannot move, such as unused memory.
    """
    for first, end in _aligned(Path("/proc/self/maps").read_text(encoding="utf-8", errors="backslashreplace")):
        _libc.madvise(first, end - first, _MADV_COLLAPSE)


def _aligned(maps: str) -> Iterator[tuple[int, int]]:
    """Yield the part of each mapping that huge pages can cover."""
    for first, last in _MAPPING.findall(maps):
        begin, end = -(-int(first, 16) // _HUGE) * _HUGE, int(last, 16) // _HUGE * _HUGE
        if begin < end:
            yield begin, end
