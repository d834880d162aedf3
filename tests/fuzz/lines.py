"""How many lines of the functions under test a corpus reaches: `python -m fuzz.lines NAME FOLDER...`.

libFuzzer's own figures (edges, features) only compare with those of another run.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from fuzz import module_name

Lines = set[tuple[str, int]]


def in_functions(code: CodeType) -> Iterator[tuple[str, int]]:
    """Name the lines of all functions in a module's code, without those that run at its import."""
    if code.co_flags & inspect.CO_OPTIMIZED:
        first = code.co_firstlineno
        yield from ((code.co_filename, line) for _, _, line in code.co_lines() if line and line > first)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from in_functions(constant)


def wanted(modules: tuple[str, ...]) -> Lines:
    found: Lines = set()
    for name in modules:
        path = str(importlib.import_module(name).__file__)
        found |= set(in_functions(compile(Path(path).read_bytes(), path, "exec")))
    return found


def reached(name: str, folders: list[str]) -> tuple[Lines, Lines]:
    """Run the target over all files; give the lines that were reached, and all there are."""
    target = importlib.import_module(module_name(name))
    lines, seen = wanted(target.MODULES), set()
    files = {filename for filename, _ in lines}

    def trace(frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401 - itself
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    for path in (path for folder in folders for path in sorted(Path(folder).iterdir())):
        sys.settrace(trace)  # again: Python ends it where the stack is at its limit
        target.one(path.read_bytes())
    sys.settrace(None)
    return lines & seen, lines


def main(name: str, folders: list[str]) -> None:
    found, lines = reached(name, folders)
    print(len(found), len(lines))
    for filename, line in sorted(lines - found):
        print(f"{filename}:{line}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
