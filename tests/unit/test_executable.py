"""Files that the kernel would not run, each with its own reason; and those that it would."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from consumer.runners.programs.executable import fault


def written(folder: Path, content: bytes, name: str = "classify") -> Path:
    path = folder / name
    path.write_bytes(content)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"#!/bin/sh\r\necho\r\n", "has Windows line ends (CRLF)"),
        (b"#!/usr/bin/env sh\r\n", "has Windows line ends (CRLF)"),
        (b"#!/bin/sh -e\r\n", "has Windows line ends (CRLF)"),
        (b"echo 'OUTPUT: 1'\n", "has no #! line that names its interpreter"),
        (b"\n#!/bin/sh\n", "has no #! line that names its interpreter"),
        (b" #!/bin/sh\n", "has no #! line that names its interpreter"),
        (b"#!\n", "names no interpreter in its #! line"),
        (b"#!/no/such/python\n", "names the interpreter /no/such/python, which does not exist"),
        (b"#! /no/such/python -u\n", "names the interpreter /no/such/python, which does not exist"),
        (b"#!/tmp\n", "names the interpreter /tmp, and /tmp is a folder"),
        (b"#!/etc/passwd\n", "names the interpreter /etc/passwd, and /etc/passwd is not executable"),
        (b"#!python3\n", "names the interpreter 'python3', which is not a full path"),
        (b"#!/" + b"x" * 300 + b"\n", "is longer than the 256 bytes that the kernel reads"),
        (
            b"#!/usr/bin/env no-such-python\n",
            "names the interpreter 'no-such-python' (env), which no folder in PATH has",
        ),
        (b"#!/usr/bin/env -S no-such-python -u\n", "names the interpreter 'no-such-python' (env)"),
        (b"#!/usr/bin/env sh -e\n", "env takes 'sh -e' for one name"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "begins with a byte order mark"),
        (b"\xff\xfe#\0!\0", "begins with a byte order mark"),
    ],
)
def test_a_file_that_the_kernel_would_not_run_has_its_reason_and_a_remedy(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    told = fault(written(tmp_path, content), os.defpath)
    assert reason in str(told)
    assert "; " in str(told)


@pytest.mark.parametrize(
    "content",
    [
        b"#!/bin/sh\necho\r\n",
        b"#! /bin/sh -e\n",
        b"#!/bin/sh",
        b"#!/usr/bin/env sh\n",
        b"#!/usr/bin/env -S sh -e\n",
        b"#!/usr/bin/env -S A=b sh\n",
        b"#!/usr/bin/env -i\n",
        Path(sys.executable).read_bytes(),
        b"PK\x03\x04\0",  # the kernel may know how to run it, and says so if not
    ],
)
def test_a_file_that_the_kernel_runs_has_no_fault(content: bytes, tmp_path: Path) -> None:
    assert fault(written(tmp_path, content), os.defpath) is None


def test_what_is_not_there_or_not_executable_or_a_folder_is_said_so(tmp_path: Path) -> None:
    program = written(tmp_path, b"#!/bin/sh\n")
    program.chmod(0o644)
    assert "is not executable" in str(fault(program, ""))
    assert "is a folder" in str(fault(tmp_path, ""))
    assert "does not exist" in str(fault(tmp_path / "missing", ""))


def test_an_interpreter_that_is_a_script_is_followed(tmp_path: Path) -> None:
    inner = written(tmp_path, b"#!/no/such/python\n", "inner")
    outer = written(tmp_path, f"#!{inner}\n".encode(), "outer")
    assert "/no/such/python, which does not exist" in str(fault(outer, ""))


def test_a_script_that_names_itself_ends_the_search(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    assert "more than the kernel follows" in str(fault(written(tmp_path, f"#!{path}\n".encode(), "loop"), ""))
