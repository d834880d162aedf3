"""Breaks lines of text for a terminal, between words but never within a command, so that a user can copy it.

Pure.
"""

from __future__ import annotations

import re
import textwrap

#: The least width. A narrower line might be too short for a word.
_LEAST_WIDTH = 20


def wrapped(line: str, width: int | None) -> list[str]:
    """Break a line into parts of at most `width` characters. If `width` is None or tiny, return the whole line.

    A command between backticks stays whole, and so does a line that begins with a blank.
    """
    if width is None or width < _LEAST_WIDTH or line.startswith(" "):
        return [line]
    whole = re.sub("`[^`]*`", lambda command: command[0].replace(" ", "\0"), line)
    parts = textwrap.wrap(whole, width, break_on_hyphens=False, break_long_words=False)
    return [part.replace("\0", " ") for part in parts] or [line]
