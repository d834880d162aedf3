"""The Makefile, as a newcomer sees and uses it."""

from __future__ import annotations

import subprocess
from pathlib import Path

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
