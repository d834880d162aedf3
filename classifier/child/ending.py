"""Ends a forked worker as Python ends a program: runs `atexit` handlers and flushes open files.

A worker exits by `os._exit`. The interpreter's own exit would free everything that the fork server has loaded,
which would copy that memory and cost as much as a fork. Standard library only.
"""

from __future__ import annotations

import _io
import atexit
import gc
import sys
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

_Files = list["weakref.ref[Any]"]
#: The built-in class of all files. With the abstract io.IOBase, `issubclass` runs Python code that writes to 200
#: pages of a worker, and each is copied: 0.5 ms.
_FILE: Final = _io._IOBase  # noqa: SLF001 - `io` has no other name for it
#: Files that the import has left open, found before gc.freeze: the collector no longer lists frozen objects.
_of_import: Final[_Files] = []


def prepare() -> None:
    """Flush the files that the import left open: otherwise every worker would write its copy of the buffers."""
    files = _open_files(gc.get_objects())
    _of_import.extend(map(weakref.ref, files))
    _flush(files)


def leave_to_parent() -> None:
    """Drop the finalizers that the import registered, such as those that remove temporary folders.

    Other workers still need these folders; the fork server removes them when it ends. multiprocessing does the
    same in its forks.
    """
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
        finalizer.atexit = False
    if util := sys.modules.get("multiprocessing.util"):
        util._finalizer_registry.clear()  # noqa: SLF001 - as BaseProcess._bootstrap does


def run() -> None:
    """Run the `atexit` handlers, then flush open files."""
    atexit._run_exitfuncs()  # noqa: SLF001 - as multiprocessing does at the end of its forks; there is no other name
    of_import = [file for known in _of_import if (file := known()) is not None]
    _flush([*of_import, *_open_files(gc.get_objects())])


def _open_files(objects: Iterable[object]) -> list[Any]:
    """Find files by `type`: `isinstance` would read `__class__`, and a proxy may then run any code."""
    return [one for one in objects if issubclass(type(one), _FILE)]


def _flush(files: Iterable[Any]) -> None:
    for file in files:
        with suppress(Exception):  # a user's class may raise anything; the other files must still be written
            if not file.closed and file.writable():
                file.flush()
