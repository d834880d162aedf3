"""Formats log records: one line each, as text for people or JSON for programs.

All foreign text passes here last, so no log call has to escape it. In text only the lines of a traceback, which
means a bug, follow on indented lines: no record begins with a space. In JSON a record has only the fields named
here.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from consumer.config.operation_settings import LogFormat
from consumer.escaping import escaped, escaped_lines
from consumer.telemetry import log_context
from consumer.telemetry.log_events import FIELDS

TEXT = "%(asctime)s %(levelname)-7s %(message)s"
#: Our messages are far shorter; a LOG: line may have 8192 characters, and escaping turns each into up to ten.
MAX_CHARACTERS = 10_000

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class SafeFormatter(logging.Formatter):
    """Escapes the finished message, so that a record is one line, and its beginning cannot be forged."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Put the escaped message into the line."""
        record.message = escaped(record.message, MAX_CHARACTERS)
        return super().formatMessage(record)

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - logging's name
        """Indent the traceback, and escape the exception's message."""
        lines = escaped_lines(super().formatException(ei), MAX_CHARACTERS)
        return "\n".join(f"    {line}" for line in lines)


class SafeJsonFormatter(JsonFormatter):
    """Writes an object per record, with its event (`log_events`) and the job that it is about.

    Characters outside ASCII become JSON escapes, so the line is JSON whatever the encoding of stderr is. Foreign
    text is escaped before that: `jq -r` may print a message to a terminal.
    """

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Add our fields only: attributes that a library adds to its records are left out."""
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = escaped(record.message, MAX_CHARACTERS)
        if record.name.partition(".")[0] == "consumer":
            log_data |= {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
        log_data |= log_context.fields()
        if traceback := message_dict.get("exc_info"):
            log_data["exception"] = "\n".join(escaped_lines(traceback, MAX_CHARACTERS))


def formatter(chosen: LogFormat) -> logging.Formatter:
    """Make the formatter for a format."""
    return SafeJsonFormatter() if chosen == "json" else SafeFormatter(TEXT)


def install(level: str) -> None:
    """Write the records of all loggers to stderr, as text until `choose` is called."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter("text"))
    logging.basicConfig(level=level, handlers=[handler])


def choose(chosen: LogFormat) -> None:
    """Write all later records in this format."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter(chosen))


def is_for_machines() -> bool:
    """Whether programs read stderr, and expect records only."""
    return any(isinstance(handler.formatter, SafeJsonFormatter) for handler in logging.getLogger().handlers)
