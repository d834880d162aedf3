"""The fork server's memory in huge pages: it is moved, and keeps its content."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Runs in a process of its own, because all memory of a process is moved. It asks the kernel for one huge page
#: first, and prints whether it got it, whether more came with `collapse`, and whether the content is the same.
PROGRAM = """
import ctypes, mmap, os
from classifier.child import huge_pages

MIB = 1024 * 1024

def filled(size, content):
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[:] = content
    return memory

def huge_kib():
    return sum(int(line.split()[1]) for line in open("/proc/self/smaps") if line.startswith("AnonHugePages:"))

probe = filled(4 * MIB, bytes(4 * MIB))
address = ctypes.addressof(ctypes.c_char.from_buffer(probe))
aligned = -(-address // (2 * MIB)) * 2 * MIB
granted = ctypes.CDLL(None).madvise(ctypes.c_void_p(aligned), ctypes.c_size_t(2 * MIB), 25) == 0
content = os.urandom(8 * MIB)
memory, before = filled(8 * MIB, content), huge_kib()
huge_pages.collapse()
print(granted, huge_kib() > before, memory[:] == content)
"""


def test_memory_is_moved_into_huge_pages_and_keeps_its_content() -> None:
    printed = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    granted, is_moved, is_same = printed.split()
    assert is_same == "True"
    if granted == "False":
        pytest.skip("this kernel moves no memory into huge pages: it is older than 6.1, or they are off")
    assert is_moved == "True"
