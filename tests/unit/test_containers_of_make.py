"""What `make compose` and `make in-debian` ask of Docker. Tests cannot start it: a program of its name notes it.

Only CI starts the real containers (.github/workflows/ci.yml).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Fails where FAILS is among its arguments.
PROGRAM = """\
#!/bin/sh
echo "$(basename "$0") $*" >>"$ASKED"
case "$*" in *"$FAILS"*) exit 3 ;; esac
"""
PROJECT = "docker compose --project-name classifier-trial --file deploy/compose.yaml"
STEPS = [f"{PROJECT} build", f"{PROJECT} run --rm models", f"{PROJECT} up --wait", "consumer submit -"]
REMOVAL = f"{PROJECT} --profile models down --volumes"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("docker", "consumer"):
        (folder / name).write_text(PROGRAM)
        (folder / name).chmod(0o755)
    return folder


def ask(programs: Path, *command: str | Path, fails: str = "nothing") -> tuple[int, list[str]]:
    """Run a command with these programs first on the path; return its exit code and what it ran of them."""
    asked = programs.parent / "asked"
    variables = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "ASKED": str(asked), "FAILS": fails}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    return done.returncode, asked.read_text().splitlines()


def test_compose_is_started_given_a_job_and_removed(programs: Path) -> None:
    trial = ROOT / "tests" / "acceptance" / "compose.sh"
    assert ask(programs, "sh", trial, programs) == (0, [*STEPS, REMOVAL])


@pytest.mark.parametrize("failed", range(len(STEPS)))
def test_whatever_fails_is_the_exit_code_after_logs_and_removal(failed: int, programs: Path) -> None:
    trial = ROOT / "tests" / "acceptance" / "compose.sh"
    step = STEPS[failed].removeprefix(PROJECT).strip()
    code, asked = ask(programs, "sh", trial, programs, fails=step.removeprefix("consumer "))
    assert code == 3
    assert asked == [*STEPS[: failed + 1], f"{PROJECT} logs --tail 100", REMOVAL]


def test_targets_run_as_root_in_the_devcontainers_image_with_an_environment_of_their_own(programs: Path) -> None:
    code, asked = ask(programs, "make", "in-debian", "RUN=soak fuzz")
    assert code == 0
    build, run = asked
    assert build == "docker build --tag classifier-debian .devcontainer"
    assert run.startswith("docker run --rm --init --privileged ")
    assert f"--volume {ROOT}:/work --workdir /work" in run
    assert run.endswith(" classifier-debian make VENV=.venv-debian soak fuzz")
