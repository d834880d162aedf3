"""Makes foreign text safe to show: in a log it cannot begin a record, on a terminal it cannot move the cursor.

Foreign text comes from a producer, a classifier or RabbitMQ. Characters that are not printable are escaped as in a
Python string: line breaks of any kind, ESC and the other control characters (C0 and C1), and characters that
change the direction of text. Pure.
"""

from __future__ import annotations


def escaped(text: str, limit: int) -> str:
    """Escape the text to one line. Text longer than `limit` characters is cut, with a note."""
    shown = text[:limit]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in shown)
    if len(text) <= limit and len(shown) <= limit:
        return shown
    return f"{shown[:limit]}... ({len(text)} characters)"


def escaped_lines(text: str, limit: int) -> list[str]:
    """Escape the text but keep its line feeds: for this service's own text that quotes foreign text."""
    return [escaped(line, limit) for line in text.split("\n")]
