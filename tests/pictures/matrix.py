"""What `classifier train --plot` draws of the signals that `classifier generate` makes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from support.processes.commands import BIN


def pictures(folder: Path) -> Iterator[str]:
    """Take them, into the folder; give their names."""
    for name, seed in {"train": "1", "test": "2"}.items():
        _classifier("generate", "--out", folder / f"{name}.csv", "--seed", seed, "--per-class", "40")
    _classifier(
        *("train", folder / "train.csv", "--test", folder / "test.csv"),
        *("--out", folder / "models/machines", "--plot", folder / "confusion-matrix.png"),
    )
    yield "confusion-matrix"


def _classifier(*arguments: str | Path) -> None:
    subprocess.run([BIN / "classifier", *arguments], check=True, capture_output=True)
