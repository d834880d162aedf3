"""End a forked worker as Python ends a program: `atexit` handlers run, and files that are still open are written.

A worker leaves by `os._exit`: the interpreter's own end would take apart all that the fork server has loaded,
which copies it and costs as much as a fork. Standard library only.
"""

from __future__ import annotations

import atexit
import gc
import io
import sys
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

_Files = list["weakref.ref[Any]"]
#: What the import has left open, found before its objects are frozen: a collector lists those no more.
_of_import: Final[_Files] = []


def prepare() -> None:
    """Write out what the import has left in files: every worker would write its copy of it."""
    files = _open_files(gc.get_objects())
    _of_import.extend(map(weakref.ref, files))
    _flush(files)


def leave_to_parent() -> None:
    """Leave to the fork server what it removes at its own end: the temporary folders of an import, for example.

    The other workers need them on. Called in a worker, as multiprocessing does in its forks.
    """
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
        finalizer.atexit = False
    if util := sys.modules.get("multiprocessing.util"):
        util._finalizer_registry.clear()  # noqa: SLF001 - as BaseProcess._bootstrap does


def run() -> None:
    """Run the `atexit` handlers, then write out what is left in files."""
    atexit._run_exitfuncs()  # noqa: SLF001 - as multiprocessing does at the end of its forks; there is no other name
    of_import = [file for known in _of_import if (file := known()) is not None]
    _flush([*of_import, *_open_files(gc.get_objects())])


def _open_files(objects: Iterable[object]) -> list[Any]:
    """Find files; by type, since `isinstance` asks an object for its class, and a proxy may do anything then."""
    return [one for one in objects if issubclass(type(one), io.IOBase)]


def _flush(files: Iterable[Any]) -> None:
    for file in files:
        with suppress(Exception):  # a user's own class may raise anything, and the other files still need writing
            if not file.closed and file.writable():
                file.flush()
