"""Finds out why the kernel would refuse to run a file, such as Windows line ends or a missing interpreter.

The kernel reports most of these faults as "No such file" or "Exec format error" of the file itself, once per job.
This module reads only the first bytes. In cases of doubt a file counts as startable: a binary file, and one that
may be executed but not read. The kernel reports their faults with the first job.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

#: The part of a `#!` line that the kernel reads (BINPRM_BUF_SIZE).
_LINE_BYTES: Final = 256
#: An interpreter may be a script itself. The kernel follows five of them.
_DEEPEST: Final = 5
_BINFMT: Final = Path("/proc/sys/fs/binfmt_misc")
_CONTROLS: Final = {"register", "status"}
_BYTE_ORDER_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def fault(program: Path, path: str, depth: int = 0) -> str | None:
    """Return why a file cannot be started, followed by a semicolon and the remedy; None if no fault is found.

    `path` is the PATH in which `env` searches; `depth` counts the `#!` lines followed so far.
    """
    if depth > _DEEPEST:
        return f"{program} is the {depth}th interpreter in a row, more than the kernel follows; name a program"
    if words := _not_permitted(program):
        return words
    try:
        with program.open("rb") as file:
            head = file.read(_LINE_BYTES)
    except OSError:  # executable, but perhaps not readable
        return None
    if head.startswith(b"#!"):
        return _of_line(program, head) or _of_interpreter(program, _line_words(head), path, depth)
    is_binary = b"\0" in head and not head.startswith(_BYTE_ORDER_MARKS)
    return None if is_binary or _has_registered_suffix(program) else _of_text(program, head)


def _has_registered_suffix(program: Path) -> bool:
    """Return whether the kernel runs files with this suffix, because binfmt_misc has an entry for it."""
    try:
        entries = [file.read_text(encoding="ascii") for file in _BINFMT.iterdir() if file.name not in _CONTROLS]
    except (OSError, ValueError):
        return False
    return any(f"extension {program.suffix}" in entry.splitlines() for entry in entries)


def _not_permitted(program: Path) -> str | None:
    if not os.path.exists(program):  # noqa: PTH110 - here and below: Path's methods raise PermissionError
        return f"{program} does not exist; correct its name, or install it"
    if os.path.isdir(program):  # noqa: PTH112
        return f"{program} is a folder; name the program in it"
    if os.access(program, os.X_OK, effective_ids=True):  # capabilities count, as they do for the kernel
        return None
    if program.stat().st_mode & 0o111 and os.statvfs(program).f_flag & os.ST_NOEXEC:
        return f"{program} is on a file system that is mounted noexec; move it, or mount that without noexec"
    return f"{program} is not executable for this user; make it executable (chmod +x {program})"


def _of_text(program: Path, head: bytes) -> str:
    """Describe a text that does not begin with a `#!` line."""
    if not head:
        return f"{program} is empty; write the program, or correct the name"
    if head.startswith(_BYTE_ORDER_MARKS):
        return f"{program} begins with a byte order mark, which hides its #! line; save it as UTF-8 without one"
    interpreter = "python3" if program.suffix == ".py" else "sh"
    return (
        f"{program} has no #! line that names its interpreter; begin it with #!/usr/bin/env {interpreter}, or put "
        f'the interpreter first: ["{interpreter}", "{program}"]'
    )


def _line_words(head: bytes) -> list[str]:
    """Read the interpreter and its single argument from the `#!` line."""
    line = head[2:_LINE_BYTES].partition(b"\n")[0]
    return os.fsdecode(line.strip(b" \t")).split(None, 1)


def _of_line(program: Path, head: bytes) -> str | None:
    line, end, _ = head[2:_LINE_BYTES].partition(b"\n")
    words = _line_words(head)
    if line.endswith(b"\r"):
        return (
            f"{program} has Windows line ends (CRLF), with which its #! line names no interpreter; convert it "
            f"(sed -i 's/\\r$//' {program})"
        )
    if not words:
        return f"{program} names no interpreter in its #! line; write one, for example #!/bin/sh"
    if not end and len(head) >= _LINE_BYTES and len(words) == 1:
        return f"the #! line of {program} is longer than the {_LINE_BYTES} bytes that the kernel reads; shorten it"
    return None


def _of_interpreter(program: Path, words: list[str], path: str, depth: int) -> str | None:
    interpreter = Path(words[0])
    if not interpreter.is_absolute():
        return f"{program} names the interpreter {words[0]!r}, which is not a full path; correct its #! line"
    if not os.path.exists(interpreter):  # noqa: PTH110
        return (
            f"{program} names the interpreter {interpreter}, which does not exist; correct the first line of the "
            "program, or install the interpreter"
        )
    if words_of_it := fault(interpreter, path, depth + 1):
        return f"{program} names the interpreter {interpreter}, and {words_of_it}"
    if interpreter.name == "env" and len(words) > 1:
        return _of_env(program, words[1].strip(), path, depth)
    return None


def _of_env(program: Path, argument: str, path: str, depth: int) -> str | None:
    """Check `#!/usr/bin/env ARGUMENT`: the kernel passes everything after `env` as one argument."""
    names = [argument]
    if argument.startswith("-S"):
        names = [word for word in argument.removeprefix("-S").split() if "=" not in word]
    elif " " in argument and not argument.startswith("-"):
        return (
            f"env takes {argument!r} for one name in the #! line of {program}; write #!/usr/bin/env -S {argument}"
        )
    if not names or names[0].startswith("-") or "=" in names[0]:
        return None
    found = shutil.which(names[0], path=path)
    if found is None:
        return (
            f"{program} names the interpreter {names[0]!r} (env), which no folder in PATH has; install it, or "
            "correct the first line of the program"
        )
    return fault(Path(found), path, depth + 1)
