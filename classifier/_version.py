"""The version of this package, as consumer/_version.py finds it; `classifier/` imports nothing of `consumer/`.

In a checkout that was never installed there is none; then the version stands in its pyproject.toml.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PRODUCT = "rabbitmq-classifier"
UNKNOWN = "unknown"


def found() -> str:
    """Find the version."""
    try:
        return version(PRODUCT)
    except PackageNotFoundError:
        return in_checkout(Path(__file__).parents[1])


def in_checkout(folder: Path) -> str:
    """Read the version of a checkout; `unknown` where it is none."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return str(project["version"]) if project["name"] == PRODUCT else UNKNOWN
    except (OSError, ValueError, KeyError):
        return UNKNOWN
