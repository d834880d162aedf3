"""Foreign text made safe to show: in a log it cannot begin a record, on a terminal it cannot move the cursor.

Foreign is whatever a producer, a classifier or RabbitMQ has written. What is not printable is escaped as in a
Python string: line breaks of any kind, ESC and the other control characters (C0 and C1), and what turns the
direction of text. Pure.
"""

from __future__ import annotations


def escaped(text: str, limit: int) -> str:
    """Make one line of it. Longer than `limit` characters is cut, and says so."""
    shown = text[:limit]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in shown)
    if len(text) <= limit and len(shown) <= limit:
        return shown
    return f"{shown[:limit]}... ({len(text)} characters)"


def escaped_lines(text: str, limit: int) -> list[str]:
    """Make safe lines of it, keeping its line feeds: for text of our own that quotes foreign text."""
    return [escaped(line, limit) for line in text.split("\n")]
