"""Runs the programs of a release to their end, and explains those that fail.

Each program that a release starts goes through `output_of`, or `started` in containers.py. Nothing here knows what
a release is.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

TIMEOUT_S = 900.0
#: Of a program that failed: the characters of its output that the message quotes.
QUOTED = 4000
#: Variables that would lead a program to this checkout, to its environment or to other settings.
OURS = ("PYTHONPATH", "VIRTUAL_ENV", "SOURCE_DATE_EPOCH")
SETTINGS = "CONSUMER_"


class ReleaseError(Exception):
    """A step of the release failed. The message names the cause and the remedy."""


def clean_environment(**more: str) -> dict[str, str]:
    """Return the variables of a user who has installed nothing of ours, and `more`."""
    kept = {
        name: value for name, value in os.environ.items() if name not in OURS and not name.startswith(SETTINGS)
    }
    return {**kept, **more}


def output_of(
    argv: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    *,
    cwd: Path | None = None,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Run a program to its end; return its standard output.

    Args:
        argv: the program and its arguments.
        environment: its variables; by default those of `clean_environment`.
        cwd: the folder that it runs in; by default the current one.
        timeout_s: the time limit of the program, in seconds.

    Raises:
        ReleaseError: it failed, took too long or does not exist.
    """
    command = [str(word) for word in argv]
    variables = clean_environment() if environment is None else environment
    try:
        done = subprocess.run(  # noqa: S603 - the release's own programs
            command, env=variables, cwd=cwd, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError:
        raise ReleaseError(f"{command[0]} is not installed; `make release-rehearsal` installs it") from None
    except subprocess.TimeoutExpired:
        raise ReleaseError(f"`{' '.join(command)}` did not end within {timeout_s:g} s") from None
    if done.returncode:
        output = f"{done.stdout[-QUOTED:]}{done.stderr[-QUOTED:]}"
        raise ReleaseError(f"`{' '.join(command)}` ended with {done.returncode}:\n{output.rstrip()}")
    return done.stdout
