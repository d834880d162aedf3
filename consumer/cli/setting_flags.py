"""Knows under which names the parsed arguments hold the settings that were given as flags.

A module of its own, because `main.py` needs it for each command, and arguments.py imports pydantic.
"""

from __future__ import annotations

import argparse
from typing import Any

_BEGINNING = "setting_"


def destination(name: str) -> str:
    """Return the name of the attribute that holds the flag of a setting."""
    return _BEGINNING + name


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given as flags."""
    attributes = vars(arguments).items()
    return {name.removeprefix(_BEGINNING): value for name, value in attributes if name.startswith(_BEGINNING)}
