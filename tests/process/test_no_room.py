"""No folder for temporary files: commands that run no jobs work, the others say what to set.

The root is read-only for the command, by bubblewrap: permissions would not stop root.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.processes import forked

READ_ONLY = ("--ro-bind", "/", "/", "--dev", "/dev", "--remount-ro", "/dev", "--proc", "/proc")
NOBODY_LISTENS = "amqp://guest:guest@127.0.0.1:1/"


def shut_in(
    folder: Path, *command: str, mounts: Sequence[str] = (), before: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `consumer` in a folder, with nothing to write to but what `mounts` add.

    `before` is a program that prepares the mounts and starts another. Runs with the same mounts share them.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CONSUMER_") and name not in ("TMPDIR", "TEMP", "TMP")
    }
    bwrap = ("bwrap", *READ_ONLY, *mounts, "--", *before)
    return forked.run("consumer", *command, env={**inherited, **variables}, cwd=folder, through=bwrap)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text("def classify(job):\n    return 42\n")
    (tmp_path / "job.json").write_text("{}")
    (tmp_path / "full").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["status"], os.EX_UNAVAILABLE),
        (["dead-letters", "list"], os.EX_UNAVAILABLE),
        (["submit", "job.json"], os.EX_UNAVAILABLE),
        (["asyncapi"], os.EX_OK),
        (["gateway", "--openapi"], os.EX_OK),
        (["health"], os.EX_CONFIG),  # it has no port to ask
        (["plan", "--service", "mean=0.1", "--rate", "1"], os.EX_OK),
        (["local-broker", "status"], 3),
    ],
)
def test_commands_that_run_no_jobs_need_no_temporary_folder(command: list[str], code: int, folder: Path) -> None:
    done = shut_in(folder, *command, CONSUMER_AMQP_URL=NOBODY_LISTENS)
    assert done.returncode == code, done.stderr
    assert "job_dir" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("url", [NOBODY_LISTENS, ""])
@pytest.mark.parametrize("command", [["run"], ["try", "job.json"], ["demo"]])
def test_commands_that_run_jobs_end_with_78_and_name_the_setting(
    command: list[str], url: str, folder: Path
) -> None:
    done = shut_in(folder, *command, CONSUMER_AMQP_URL=url)
    assert done.returncode == os.EX_CONFIG
    assert "consumer: job_dir '/tmp' cannot be used: Read-only file system" in done.stderr
    assert "name a folder that this user may write to (CONSUMER_JOB_DIR)" in done.stderr


def test_a_temporary_folder_that_is_named_and_cannot_be_written_to_is_named_again(folder: Path) -> None:
    done = shut_in(folder, "try", "job.json", TMPDIR=str(folder / "full"))
    assert f"job_dir '{folder}/full' cannot be used: Read-only file system" in done.stderr


def test_check_reports_it_and_goes_on(folder: Path) -> None:
    done = shut_in(folder, "check", CONSUMER_AMQP_URL=NOBODY_LISTENS)
    assert done.returncode == 1
    assert "failure  job folder      job_dir '/tmp' cannot be used: Read-only file system" in done.stdout
    assert "skipped  classifier      because of job folder" in done.stdout
    assert "failure  RabbitMQ" in done.stdout


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a full folder is mounted."""
    return tmp_path_factory.mktemp("full")


@pytest.mark.parametrize("command", [["run"], ["try", "job.json"], ["demo"]])
def test_a_full_job_folder_ends_the_start_with_78(command: list[str], folder: Path, full: Path) -> None:
    """Of 4 KiB, which its first file has: it still takes folders."""
    filled = ("sh", "-euc", 'head -c 4096 /dev/zero >"$0/taken"; exec "$@"', str(full))
    variables = {"CONSUMER_JOB_DIR": str(full), "CONSUMER_AMQP_URL": NOBODY_LISTENS}
    done = shut_in(folder, *command, mounts=("--size", "4096", "--tmpfs", str(full)), before=filled, **variables)
    assert done.returncode == os.EX_CONFIG, done.stderr
    assert f"job_dir '{full}' is full (No space left on device); free some space, or name another" in done.stderr
    assert "(CONSUMER_JOB_DIR)" in done.stderr


def test_a_job_folder_beside_a_read_only_root_is_all_that_is_needed(folder: Path) -> None:
    mounts = ("--size", str(200 * 1024**2), "--tmpfs", str(folder / "full"))
    done = shut_in(
        folder,
        "try",
        "job.json",
        mounts=mounts,
        CONSUMER_JOB_DIR=str(folder / "full"),
        CONSUMER_CLASSIFIER="mine:classify",
    )
    assert done.returncode == os.EX_OK, done.stderr
    assert '"output": 42' in done.stdout
