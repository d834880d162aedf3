"""How the log is written: a line per record, whatever the record quotes; as text for people, or JSON for machines.

The last place that foreign text passes before it is read by people and programs, so nothing depends on each call
having escaped what it logs. In text only the lines of a traceback, which a bug alone brings, follow on lines of
their own, indented: no record begins with a space. In JSON a record has the fields named here and no others.
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


class SafeJsonFormatter(JsonFormatter):
    """Writes an object per record, with its event (`log_events`) and the job that it is about.

    All but ASCII is written as JSON's own escapes, so the line is JSON whatever the encoding of stderr is. Foreign
    text is escaped before that: who prints a message with `jq -r` has a terminal, too.
    """

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Name what a record has; an attribute that a library adds to its records is not ours to pass on."""
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
    """Make the formatter of a format."""
    return SafeJsonFormatter() if chosen == "json" else SafeFormatter(TEXT)


def install(level: str) -> None:
    """Let all loggers write to stderr, as text until `choose` says otherwise; nothing else writes there."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter("text"))
    logging.basicConfig(level=level, handlers=[handler])


def choose(chosen: LogFormat) -> None:
    """Write all that follows in this format."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter(chosen))


def is_for_machines() -> bool:
    """Whether who reads stderr expects records only."""
    return any(isinstance(handler.formatter, SafeJsonFormatter) for handler in logging.getLogger().handlers)
