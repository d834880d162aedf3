"""Distributions of the tree: its sdist, and the wheel that a front end builds from that.

Built in copies of the tree, as a build leaves folders where it works, and with the setuptools that is installed
here, as nothing then needs a network.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
BUILD_TIMEOUT_S = 600
#: The list of its files that an sdist carries.
SOURCES = ROOT / "rabbitmq_classifier.egg-info" / "SOURCES.txt"


def in_git() -> bool:
    """Whether this is a clone, and not an unpacked sdist, which may lie in somebody's own repository."""
    return (ROOT / ".git").exists() and shutil.which("git") is not None


def tracked() -> set[str]:
    """Give the files that git tracks."""
    return _git_files("--cached")


def tree_files() -> set[str]:
    """Give the files of the tree: those in git, or soon there; of an unpacked sdist those that it lists."""
    if in_git():
        return _git_files("--cached", "--others", "--exclude-standard")
    return {name for name in SOURCES.read_text(encoding="utf-8").splitlines() if ".egg-info/" not in name}


def _git_files(*which: str) -> set[str]:
    done = subprocess.run(["git", "ls-files", "-z", *which], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}


def tree_in(folder: Path) -> Path:
    """Copy the tree's files into this folder, which is made."""
    for name in tree_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def build(kind: Literal["sdist", "wheel"], tree: Path, into: Path) -> Path:
    """Build a distribution of the tree, which may change; give its path."""
    code = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, into],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = into.glob({"sdist": "*.tar.gz", "wheel": "*.whl"}[kind])
    return built


def unpack(sdist: Path, into: Path) -> Path:
    """Unpack an sdist; give its one folder."""
    with tarfile.open(sdist) as opened:
        opened.extractall(into, filter="data")
    [top] = into.iterdir()
    return top
