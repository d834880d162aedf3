"""A user's files with the names of ours, of the standard library's or of installed ones: none of them is run.

Each says so on stderr if it is. The folder is the working directory and, in turn, in PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from support.processes.commands import BIN

MARK = "THE USER'S FILE RUNS"
#: Ours, the standard library's and installed ones; before our first line Python itself imports none of these.
NAMES = (
    "classifier",
    "consumer",
    "signal",
    "queue",
    "json",
    "random",
    "logging",
    "numpy",
    "csv",
    "socket",
    "uvloop",
)
#: What Python imports itself as it starts: harmless in a working directory, not in PYTHONPATH.
EARLY = ("types", "re", "enum", "functools", "typing")
INNOCENT = {"CONSUMER_AMQP_URL": "amqp://guest:guest@127.0.0.1:1/"}  # nobody listens there


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's, with a module that imports another, a job and a table."""
    (tmp_path / "mine.py").write_text(
        "import json, queue, helper\ndef classify(job):\n    queue.Queue()\n    return json.loads(helper.TEXT)\n"
    )
    (tmp_path / "helper.py").write_text("TEXT = '42'\n")
    (tmp_path / "job.json").write_text("{}")
    lines = [
        f"{'ab'[number % 2]},{number % 2 + 0.5},{number % 3 + 0.25},{number % 5 + 0.125}" for number in range(40)
    ]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def add(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        (folder / f"{name}.py").write_text(
            f"import sys\nsys.stderr.write({MARK!r})\ndef classify(job): return 1\n"
        )


@pytest.mark.parametrize("name", ["classifier", "numpy", "email"])
def test_a_module_in_a_folder_without_init_that_loses_to_a_package_is_told_so(folder: Path, name: str) -> None:
    (folder / name).mkdir()
    (folder / name / "own.py").write_text("def classify(job): return 1\n")
    done = run(
        folder, BIN / "consumer", "try", "job.json", variables={"CONSUMER_CLASSIFIER": f"{name}.own:classify"}
    )
    assert done.returncode == os.EX_CONFIG
    assert f"{folder / name} cannot be imported as '{name}'" in done.stderr


def run(
    folder: Path, *command: str | Path, variables: Mapping[str, str] = INNOCENT
) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONSUMER_")}
    environment = {**inherited, "CONSUMER_JOB_DIR": str(folder / "jobs"), **INNOCENT, **variables}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


CONSUMER: tuple[str | Path, ...] = (BIN / "consumer",)
#: `-P`, as without it Python runs a `consumer.py` of the working directory, and never ours.
MODULE: tuple[str | Path, ...] = (sys.executable, "-P", "-m", "consumer")


@pytest.mark.parametrize(
    ("command", "path", "names"),
    [
        (CONSUMER, "", (*NAMES, *EARLY)),
        (MODULE, "", (*NAMES, *EARLY)),
        (CONSUMER, ".", NAMES),
        ((sys.executable, "-m", "consumer"), "", [name for name in NAMES if name != "consumer"]),
        ((sys.executable, "-m", "consumer"), ".", [name for name in NAMES if name != "consumer"]),
    ],
)
def test_a_function_of_the_folder_is_served_whatever_else_lies_there(
    command: tuple[str | Path, ...], path: str, names: Sequence[str], folder: Path
) -> None:
    add(folder, names)
    variables = {"CONSUMER_CLASSIFIER": "mine:classify", "PYTHONPATH": path}
    done = run(folder, *command, "try", "job.json", variables=variables)
    assert done.returncode == os.EX_OK, done.stderr
    assert '"output": 42' in done.stdout
    assert MARK not in done.stderr
    assert f" in {folder} not imported, because " in done.stderr


@pytest.mark.parametrize("path", ["", "."])
def test_a_program_that_runs_our_classifier_runs_ours(path: str, folder: Path) -> None:
    add(folder, (*NAMES, *EARLY) if not path else NAMES)
    command = json.dumps([sys.executable, "-m", "classifier", "--call", "mine:classify"])
    variables = {"CONSUMER_COMMAND": command, "PYTHONPATH": path and str(folder)}
    done = run(folder, *CONSUMER, "try", "job.json", variables=variables)
    assert MARK not in done.stderr
    if path:
        assert '"output": 42' in done.stdout
    else:  # a program runs in its job's folder
        assert done.returncode == os.EX_CONFIG
        assert f"finds no module 'mine'; it is in {folder}" in done.stderr
        assert f"set PYTHONPATH={folder}" in done.stderr


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("classifier", "this service"),
        ("signal", "the standard library"),
        ("time", "the standard library"),  # built in
        ("uvloop", "an installed package"),
    ],
)
def test_a_users_module_whose_name_is_taken_is_named_with_the_remedy(name: str, owner: str, folder: Path) -> None:
    add(folder, [name])
    for setting, value in (
        ("CONSUMER_CLASSIFIER", f"{name}:classify"),
        ("CONSUMER_COMMAND", json.dumps([sys.executable, "-m", "classifier", "--call", f"{name}:classify"])),
    ):
        variables = {setting: value, "PYTHONPATH": str(folder)}
        done = run(folder, *CONSUMER, "try", "job.json", variables=variables)
        assert done.returncode != os.EX_OK
        said = done.stderr + done.stdout
        assert f"{folder}/{name}.py cannot be imported as '{name}': {owner} has a module of that name" in said
        assert f"rename it, for example to my_{name}" in said
        assert MARK not in said


def test_check_reports_files_that_are_not_imported(folder: Path) -> None:
    add(folder, ["signal"])
    done = run(folder, *CONSUMER, "check", variables={"CONSUMER_CLASSIFIER": "mine:classify"})
    assert f"warning  classifier      signal.py in {folder} not imported" in done.stdout
    assert "remedy: rename the files that the classifier needs" in done.stdout


@pytest.mark.parametrize("path", ["", "."])
def test_the_commands_that_read_tables_run_no_file_of_the_folder(path: str, folder: Path) -> None:
    add(folder, NAMES)
    variables = {"PYTHONPATH": path}
    submitted = run(folder, *CONSUMER, "submit", "table.csv", variables=variables)
    assert "no RabbitMQ answered" in submitted.stderr  # the table was read before
    trained = run(folder, BIN / "classifier", "train", "table.csv", "--out", "models/m", variables=variables)
    assert (folder / "models" / "m.model").exists(), trained.stderr
    predicted = run(folder, BIN / "classifier", "predict", "job.json", variables=variables)
    tried = run(folder, *CONSUMER, "try", "job.json", variables=variables)
    assert "classifier_error" in tried.stdout  # the model was loaded, and the job has no signal
    for done in (submitted, trained, predicted, tried):
        assert MARK not in done.stderr
        assert "Traceback" not in done.stderr
