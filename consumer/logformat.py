"""How the log is written: a line per record, whatever the record quotes.

The last place that foreign text passes before it is read by people and programs, so nothing depends on each call
having escaped what it logs. Only the lines of a traceback, which a bug alone brings, follow on lines of their
own, indented: no record begins with a space.
"""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from consumer.escaped import escaped, escaped_lines

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
#: No message of ours comes near; a LOG: line may have 8192 characters, and each become ten when it is escaped.
MAX_CHARACTERS = 10_000

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class SafeFormatter(logging.Formatter):
    """Escapes the finished message, so that a record is one line and its beginning is ours."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Put the escaped message into the line."""
        record.message = escaped(record.message, MAX_CHARACTERS)
        return super().formatMessage(record)

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - logging's name
        """Indent the traceback, and escape what the exception's message quotes."""
        lines = escaped_lines(super().formatException(ei), MAX_CHARACTERS)
        return "\n".join(f"    {line}" for line in lines)


def install(level: str) -> None:
    """Let all loggers write to stderr in this format, in which it is the only one."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(SafeFormatter(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])
