"""The Makefile, as a newcomer sees and uses it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(*arguments: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", "--file", ROOT / "Makefile", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_list_of_targets_fits_on_a_screen() -> None:
    lines = make("help").splitlines()
    assert len(lines) > 10
    assert max(map(len, lines)) <= 80


def test_clean_keeps_the_models_and_their_pins(tmp_path: Path) -> None:
    kept = [tmp_path / "models" / "pumps.model", tmp_path / "models.trusted"]
    gone = [tmp_path / ".venv" / "pyvenv.cfg", tmp_path / ".mypy_cache" / "x"]
    for path in (*kept, *gone):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    make("clean", cwd=tmp_path)
    assert [path.exists() for path in (*kept, *gone)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("0.1.0", 0),
        ("0.1.1", 2),
        ('0.1.0";touch$${IFS}pwned;"', 2),  # git takes each of these as the name of a tag
        ("0.1.0$(shell>pwned)", 2),
        ("0.1.0`>pwned`", 2),
    ],
)
def test_a_tag_is_compared_with_the_version_and_no_part_of_it_is_run(tag: str, code: int, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "consumer"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho consumer 0.1.0\n")
    program.chmod(0o755)
    done = subprocess.run(
        ["make", "--file", ROOT / "Makefile", "VENV=.", "--assume-old", "./.installed", "release-tag"],
        cwd=tmp_path,
        env={**os.environ, "TAG": tag},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert code == 0 or f"the tag {tag} is not the version: consumer 0.1.0" in done.stderr
    assert not (tmp_path / "pwned").exists()
