"""Python processes of ours find our packages first; the user learns which files are not imported for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from consumer.runners.programs import own_python
from consumer.runners.programs.own_python import START, hidden_files, started_as_ours, unbuffered, user_path


def test_a_module_of_ours_is_started_by_the_file_that_orders_the_path() -> None:
    assert own_python.command("classifier", "jobs", path="/a:/b") == (
        sys.executable,
        "-P",
        str(START),
        "/a:/b",
        "classifier",
        "jobs",
    )
    assert START.is_file()


def test_the_users_path_is_the_working_directory_and_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert user_path({}) == str(tmp_path)
    assert user_path({"PYTHONPATH": f"/a::{tmp_path}"}) == f"{tmp_path}:/a"


def test_files_with_names_that_are_taken_are_hidden_and_no_others(tmp_path: Path) -> None:
    for name in ("mine.py", "signal.py", "numpy.py", "classifier.py", "json.txt", "time.py"):
        (tmp_path / name).touch()
    (tmp_path / "logging").mkdir()
    (tmp_path / "logging" / "__init__.py").touch()
    (tmp_path / "queue").mkdir()  # not a package: Python finds its own
    [told] = hidden_files(f"{tmp_path}:{tmp_path}:/no/such/folder")
    assert told.startswith(f"classifier.py, logging/, numpy.py, signal.py, time.py in {tmp_path} not imported, ")
    assert "; rename" in told


def test_of_many_hidden_files_some_are_named(tmp_path: Path) -> None:
    for name in ("array", "ast", "bz2", "calendar", "cmd", "code", "csv"):
        (tmp_path / f"{name}.py").touch()
    [told] = hidden_files(str(tmp_path))
    assert told.startswith("array.py, ast.py, bz2.py, calendar.py, cmd.py and 2 more in ")


def test_a_clone_of_the_repository_hides_nothing() -> None:
    assert hidden_files(str(START.parent)) == []


@pytest.mark.parametrize(
    ("argv", "started"),
    [
        (
            ("/bin/python3", "-u", "-m", "classifier", "--call", "mine:f"),
            ("/bin/python3", "-u", "-P", str(START), "/a", "classifier", "--call", "mine:f"),
        ),
        (
            ("/bin/env", "A=b", "python3", "-mclassifier"),
            ("/bin/env", "A=b", "python3", "-P", str(START), "/a", "classifier"),
        ),
    ],
)
def test_a_command_that_runs_our_classifier_is_started_as_ours(
    argv: tuple[str, ...], started: tuple[str, ...]
) -> None:
    assert started_as_ours(argv, {"PYTHONPATH": "/a", "X": "y"}) == (started, {"X": "y"})


@pytest.mark.parametrize("argv", [("/bin/python3", "-m", "mine"), ("/bin/sh", "classifier"), ("/bin/classifier",)])
def test_other_commands_are_the_users_own(argv: tuple[str, ...]) -> None:
    assert started_as_ours(argv, {"PYTHONPATH": "/a"}) == (argv, {"PYTHONPATH": "/a"})


@pytest.mark.parametrize(
    ("argv", "value", "started"),
    [
        ("python3 -I a.py", "1", "python3 -u -I a.py"),
        ("nice /bin/python3.11 -sE a.py -x", "1", "nice /bin/python3.11 -u -sE a.py -x"),
        ("python3 a.py -I", "1", "python3 a.py -I"),
        ("python3 -W Ignore a.py", "1", "python3 -W Ignore a.py"),
        ("python3 -I a.py", "", "python3 -I a.py"),
        ("perl -I lib/ a.pl", "1", "perl -I lib/ a.pl"),
    ],
)
def test_a_python_that_ignores_the_environment_is_told_not_to_buffer(argv: str, value: str, started: str) -> None:
    assert unbuffered(tuple(argv.split()), {"PYTHONUNBUFFERED": value}) == tuple(started.split())
