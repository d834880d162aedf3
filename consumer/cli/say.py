"""Writes lines for people to stderr: on a terminal with line breaks between words, and never within a command.

stdout is for results and for programs. In a file or a pipe each line is written as it is.
"""

from __future__ import annotations

import sys

from consumer.line_breaks import wrapped


def say(text: str) -> None:
    """Write one line or several."""
    width = None
    if sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415 - takes 20 ms, which most commands need not spend

        width = Console(stderr=True).width
    lines = [part for line in text.split("\n") for part in wrapped(line, width)]
    print("\n".join(lines), file=sys.stderr)
