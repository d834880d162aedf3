"""Formats log records: one line each, as text for people or JSON for programs.

The formatter escapes all foreign text, so that no log call has to. In text, a record is one line; only a
traceback adds lines, and they are indented: that of a bug, or of user code that cannot be loaded. In JSON, a
record has only the fields named here.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from consumer.config.sources import LogFormat, LogLevel
from consumer.escaping import escaped, escaped_lines
from consumer.telemetry import log_context
from consumer.telemetry.log_events import FIELDS

TEXT = "%(asctime)s %(levelname)-7s %(message)s"
#: On a terminal the level has a colour: yellow, red, and white on red.
_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "37;41"}
#: Our messages are far shorter. A LOG: line may have 8192 characters, and escaping may turn one into ten.
MAX_CHARACTERS = 10_000

#: The name under which a log call passes a traceback of user code.
_USER_TRACEBACK = "user_traceback"
_TRACEBACK_HEAD = "Traceback (most recent call last):"

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def without_traceback(text: str) -> tuple[str, dict[str, str]]:
    """Split a message that quotes what a process of user code has printed, so that it is one record.

    Returns the message on one line, with the last line of the traceback, which has the cause; and the traceback,
    for `extra`. A message without a traceback keeps all its words.
    """
    first, *printed = text.split("\n")
    if _TRACEBACK_HEAD not in printed:
        return " ".join(text.split("\n")), {}
    return f"{first} {printed[-1]}", {_USER_TRACEBACK: "\n".join(printed)}


class SafeFormatter(logging.Formatter):
    """Escapes the finished message, so that a record is one line, and its beginning cannot be forged."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the line, and below it the traceback of user code."""
        return "\n".join((super().format(record), *_indented(record.__dict__.get(_USER_TRACEBACK))))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Escape the message and format the line."""
        record.message = escaped(record.message, MAX_CHARACTERS)
        return super().formatMessage(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        """Return the local time with its offset from UTC: logs of several machines must be comparable."""
        return datetime.fromtimestamp(record.created).astimezone().isoformat(" ", "milliseconds")

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - logging's name
        """Indent the traceback, and escape the exception's message."""
        return "\n".join(_indented(super().formatException(ei)))


def _indented(traceback: str | None) -> list[str]:
    lines = escaped_lines(traceback, MAX_CHARACTERS) if traceback else []
    return [f"    {line}" for line in lines]


class _ColouredFormatter(SafeFormatter):
    """Shows warnings and errors in colour, for a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Colour the level in the finished line, where it is still as wide as in every line."""
        line, level = super().formatMessage(record), f"{record.levelname:7}"
        colour = _COLOURS.get(record.levelname)
        return line.replace(level, f"\x1b[{colour}m{level}\x1b[0m", 1) if colour else line


class SafeJsonFormatter(JsonFormatter):
    """Writes a record as a JSON object, with its event (`log_events`) and its job.

    Characters outside ASCII become JSON escapes, so the line is JSON whatever the encoding of stderr is. Foreign
    text is escaped before that: `jq -r` may print a message to a terminal.
    """

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Add our fields, and none that a library sets on its records."""
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        log_data["message"] = escaped(record.message, MAX_CHARACTERS)
        if record.name.partition(".")[0] == "consumer":
            log_data |= {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
        log_data |= log_context.fields()
        if traceback := message_dict.get("exc_info") or record.__dict__.get(_USER_TRACEBACK):
            log_data["exception"] = "\n".join(escaped_lines(traceback, MAX_CHARACTERS))


def formatter(chosen: LogFormat) -> logging.Formatter:
    """Make the formatter for a format."""
    if chosen == "json":
        return SafeJsonFormatter()
    return _ColouredFormatter(TEXT) if colours(sys.stderr) else SafeFormatter(TEXT)


def colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose user wants colours (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def install() -> None:
    """Write the records of all loggers to stderr, as text from level INFO until `choose` changes both."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter("text"))
    logging.basicConfig(level="INFO", handlers=[handler])
    logging.captureWarnings(capture=True)  # Python would print them between the records


def choose(chosen: LogFormat, level: LogLevel = "INFO") -> None:
    """Write all later records in this format, from this level on."""
    logging.getLogger().setLevel(level)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(formatter(chosen))


def is_for_machines() -> bool:
    """Return whether the log is JSON, so that nothing but records may go to stderr."""
    return any(isinstance(handler.formatter, SafeJsonFormatter) for handler in logging.getLogger().handlers)
