"""The version of this service, known in one place: the metadata of the installed package.

In a checkout that was never installed there is none; then the version stands in its pyproject.toml.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PRODUCT = "rabbitmq-classifier"
UNKNOWN = "unknown"


def _version() -> str:
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


#: Read once: it parses the package's metadata file, which took 0.6 ms of CPU at each publish, half of a job's.
VERSION = _version()
