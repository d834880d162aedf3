"""The fork server's memory in huge pages: what is moved, and that it keeps its content."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: In a process of its own: all memory of a process is moved. Prints the size of huge pages, and whether the content
#: is the same. The kernel refuses by the same call if it is too old, or where huge pages are off.
PROGRAM = """
import ctypes, errno, mmap, os, sys
from classifier.child import huge_pages

SIZE = 8 * 1024 * 1024
content = os.urandom(SIZE)
memory = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory[:] = content
huge_pages.collapse()
huge = next(line for line in open("/proc/self/smaps_rollup") if line.startswith("AnonHugePages:"))
print(huge.split()[1], memory[:] == content)
"""


def test_memory_is_moved_into_huge_pages_and_keeps_its_content() -> None:
    printed = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    huge_kib, is_same = printed.split()
    assert is_same == "True"
    if huge_kib == "0":
        pytest.skip("this kernel moves no memory into huge pages on request: it is older than 6.1, or they are off")
    assert int(huge_kib) >= 6 * 1024  # of 8 MiB, all but the ends, which may not fill a huge page
