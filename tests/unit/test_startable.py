"""Command lines whose script would be missed by every job: refused at the start, by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from consumer.errors import ConfigurationError
from consumer.runners.exec_runner import found_command
from consumer.runners.programs.startable import refuse_what_cannot_start

ENVIRONMENT = {"PATH": os.environ["PATH"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the consumer starts, with good and bad scripts in it."""
    (tmp_path / "classify.py").write_text("print('OUTPUT: 1')\n")
    (tmp_path / "plain").write_text("echo 'OUTPUT: 1'\n")
    (tmp_path / "crlf.sh").write_bytes(b"echo 'OUTPUT: 1'\r\n")
    (tmp_path / "crlf.py").write_bytes(b"print('OUTPUT: 1')\r\n")
    (tmp_path / "empty.py").touch()
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text("print('OUTPUT: 1')\n")
    (tmp_path / "bare").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*command: str) -> Sequence[str]:
    argv = found_command(command)
    refuse_what_cannot_start(argv, ENVIRONMENT)
    return argv


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("python3 nosuch.py", "python3 cannot run 'nosuch.py': there is no such file in {}"),
        ("python3 -u sub/nosuch.py", "python3 cannot run 'sub/nosuch.py': there is no such file in {}"),
        ("python3 /no/such.py", "python3 cannot run '/no/such.py': there is no such file; give its full path"),
        ("sh ./missing.sh", "sh cannot run 'missing.sh': there is no such file in {}"),
        ("sh missing", "sh cannot run 'missing': there is no such file in {}"),
        ("env A=b python3 nosuch.py", "python3 cannot run 'nosuch.py': there is no such file in {}"),
        ("timeout 10 sh nosuch.sh", "sh cannot run 'nosuch.sh': there is no such file in {}"),
        ("env no-such-python classify.py", "cannot run 'no-such-python': no folder in PATH has such a program"),
        ("nice ./no-such-program", "no-such-program does not exist"),
        ("sh crlf.sh", "sh cannot run {}/crlf.sh, which has Windows line ends (CRLF)"),
        ("python3 empty.py", "python3 cannot run {}/empty.py, which is empty"),
        ("python3 bare", "python3 cannot run {}/bare, a folder without __main__.py"),
        ("sh app", "sh cannot run {}/app, a folder; name the script in it"),
    ],
)
def test_a_script_that_no_job_could_run_stops_the_start(command: str, reason: str, folder: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        start(*command.split())
    assert str(refused.value).startswith("command: ")
    assert reason.format(folder) in str(refused.value)


@pytest.mark.parametrize(
    "command",
    [
        "python3 classify.py --fast",
        "python3 crlf.py",
        "python3 app",
        "python3 -c pass",
        "sh plain",
        "sh -c true",
        "env A=b nice -n 5 sh plain",
        "python3 /dev/stdin",
        "sh true",  # a shell looks in PATH, too
    ],
)
def test_a_script_that_can_be_run_is_not_refused(command: str, folder: Path) -> None:
    assert start(*command.split())
    assert folder.exists()


def test_a_script_is_named_in_full_even_where_it_does_not_look_like_a_file(folder: Path) -> None:
    assert start("sh", "plain", "plain")[1:] == (f"{folder}/plain", "plain")
    assert start("python3", "app")[1:] == (f"{folder}/app",)


@pytest.mark.parametrize(
    ("name", "mode", "cause"),
    [
        ("./bare", 0o755, ": bare is a folder"),
        ("./plain", 0o644, ": plain is not executable for this user"),
        ("plain", 0o755, ": there is one in {}, which PATH does not name (write ./plain)"),
        ("./nosuch", 0o755, ""),
    ],
)
def test_why_a_program_that_is_there_cannot_be_executed_is_said(
    name: str, mode: int, cause: str, folder: Path
) -> None:
    (folder / "plain").chmod(mode)
    with pytest.raises(ConfigurationError) as refused:
        start(name)
    wanted = f"no program {name!r} that can be executed{cause.format(folder)}; give its full path"
    assert wanted in str(refused.value)


@pytest.mark.parametrize(
    ("script", "beside", "path"),
    [
        ("classifier.py", "", False),  # a program of this name imports itself
        ("classify.py", "classifier.py", False),
        ("classify.py", "classifier/__init__.py", False),
        ("sub/classify.py", "classifier.py", True),
    ],
)
@pytest.mark.parametrize("how", ["python3 {}", "{}"])
def test_a_script_that_would_import_the_users_classifier_for_ours_is_refused(
    how: str, script: str, beside: str, path: bool, folder: Path
) -> None:
    for name in filter(None, (beside, script)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("#!/usr/bin/env python3\nfrom classifier.contract import log\n")
        (folder / name).chmod(0o755)
    environment = {**ENVIRONMENT, **({"PYTHONPATH": str(folder)} if path else {})}
    argv = found_command(how.format(f"./{script}").split())
    with pytest.raises(
        ConfigurationError, match=f"imports `classifier.contract`, .* {folder}/{beside or script} .*; rename"
    ):
        refuse_what_cannot_start(argv, environment)


def test_a_script_beside_a_classifier_of_the_users_may_import_that_or_ignore_its_folder(folder: Path) -> None:
    (folder / "classifier.py").write_text("def classify(job): ...\n")
    (folder / "classify.py").write_text("from classifier import classify\n")
    assert start("python3", "classify.py")
    (folder / "classify.py").write_text("from classifier.contract import log\n")
    assert start("python3", "-P", "classify.py")
    (folder / "classifier").mkdir()
    (folder / "classifier" / "__init__.py").touch()
    (folder / "classifier" / "contract.py").touch()  # such as ours, in a clone
    assert start("python3", "classify.py")


def test_a_word_that_is_too_long_for_a_name_is_no_file(folder: Path) -> None:
    text = "print('./')\n" * 1000
    assert start("python3", "-c", text)[-1] == text
    assert folder.exists()
