"""Makes fresh environments and installs a wheel into them, as a user would: nothing of this checkout is in reach.

`fresh` has pip, as `python3 -m venv` makes it. `bare` is for an SBOM: it has the wheel and what that needs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from programs import output_of

_QUIET = ("--quiet", "--disable-pip-version-check")


@dataclass(frozen=True)
class Environment:
    """An environment with an installed wheel: how long `pip install` took, and what it added."""

    folder: Path
    seconds: float
    added_bytes: int


def fresh(folder: Path, wheel: Path) -> Environment:
    """Make an environment as `python3 -m venv` does, and install the wheel with its pip."""
    output_of([base_python(), "-m", "venv", folder])
    return _installed([folder / "bin" / "pip", "install", *_QUIET, wheel], folder)


def bare(folder: Path, wheel: Path, constraints: Path) -> Environment:
    """Make an environment without pip, and install the wheel, with the versions of constraints.txt."""
    output_of([base_python(), "-m", "venv", "--without-pip", folder])
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    return _installed([*pip, *_QUIET, "--constraint", constraints, wheel], folder)


def _installed(pip: Sequence[str | Path], folder: Path) -> Environment:
    began, before = time.monotonic(), _bytes_in(folder)
    output_of(pip)
    return Environment(folder, time.monotonic() - began, _bytes_in(folder) - before)


def _bytes_in(folder: Path) -> int:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files)


def base_python() -> str:
    """Return the Python that our own environment was made with."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
