"""Reads from an ELF file the machine that it is built for, and the dynamic loader that it needs.

It reads only the head of the file. Facts beyond the head are unknown, and an unknown fact causes no complaint.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Final

MAGIC: Final = b"\x7fELF"
#: The program headers and the loader's name follow the file's header, within some KiB.
HEAD_BYTES: Final = 8192
_PT_INTERP: Final = 3
#: Machines (e_machine) whose 32-bit programs run on a 64-bit kernel: x86 on x86-64, ARM on AArch64.
_ALSO_RUNS: Final = {62: (3,), 183: (40,)}


def foreign_machine(head: bytes) -> int | None:
    """Return the number of the machine that a program is built for, if this machine does not run it."""
    own, found = _own_machine(), machine(head)
    is_fit = None in (own, found) or found == own or found in _ALSO_RUNS.get(own or 0, ())
    return None if is_fit else found


def _own_machine() -> int | None:
    try:
        with Path(sys.executable).open("rb") as file:
            return machine(file.read(HEAD_BYTES))
    except OSError:  # executable, but perhaps not readable
        return None


def machine(head: bytes) -> int | None:
    """Read the machine, e_machine; None if the header is cut off."""
    try:
        return int(struct.unpack_from(_order(head) + "H", head, 18)[0])
    except struct.error:
        return None


def loader(head: bytes) -> str | None:
    """Read the dynamic loader, PT_INTERP; None for a static program, or if the name is beyond the head."""
    order, is_64 = _order(head), head[4:5] == b"\x02"
    word, at_start, at_sizes, at_offset, at_length = ("Q", 32, 54, 8, 32) if is_64 else ("I", 28, 42, 4, 16)
    try:
        (start,) = struct.unpack_from(order + word, head, at_start)
        size, count = struct.unpack_from(order + "HH", head, at_sizes)
        for header in range(start, start + size * count, size or 1):
            if struct.unpack_from(order + "I", head, header)[0] == _PT_INTERP:
                (offset,) = struct.unpack_from(order + word, head, header + at_offset)
                (length,) = struct.unpack_from(order + word, head, header + at_length)
                return os.fsdecode(head[offset : offset + length].rstrip(b"\0")) or None
    except struct.error:
        return None
    return None


def _order(head: bytes) -> str:
    return ">" if head[5:6] == b"\x02" else "<"
