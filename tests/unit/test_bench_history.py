"""The history of benchmarks: each run once, and what became of each target."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

MODULE = Path(__file__).parents[1] / "benchmarks" / "history.py"


def a_night(folder: Path, commit: str, measured: float | None, verdict: str = "met") -> str:
    """Add results as `make bench` writes them; return the table."""
    target = {"number": "1", "text": "small jobs | Celery", "measured": measured, "unit": "x", "verdict": verdict}
    (folder / "bench-results").mkdir(exist_ok=True)
    (folder / "bench-results" / "results.json").write_text(json.dumps({"machine": "2 CPUs", "targets": [target]}))
    done = subprocess.run([sys.executable, MODULE, commit], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def test_each_night_is_a_column_and_a_missed_target_is_marked(tmp_path: Path) -> None:
    a_night(tmp_path, "aaa", 1.51)
    a_night(tmp_path, "bbb", None, "not measured")
    assert a_night(tmp_path, "ccc", 1.234, "MISSED").splitlines() == [
        "| target | aaa | bbb | ccc |",
        "|---|--:|--:|--:|",
        "| 1: small jobs / Celery | 1.51 x | - | 1.23 x MISSED |",
        "",
        "The last run: 2 CPUs.",
    ]


def test_the_same_results_are_added_once_and_the_file_keeps_what_the_table_leaves_out(tmp_path: Path) -> None:
    for night in range(9):
        a_night(tmp_path, f"c{night}", 1.5)
    shown = a_night(tmp_path, "c8", 1.5)
    assert "| c2 | c3 | c4 | c5 | c6 | c7 | c8 |" in shown
    assert len((tmp_path / "bench-history" / "history.jsonl").read_text().splitlines()) == 9


def test_without_results_it_says_what_to_run(tmp_path: Path) -> None:
    command = (sys.executable, MODULE, "aaa")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "run `make bench` first" in done.stderr
