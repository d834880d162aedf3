"""Parses lines of a JSON log: tests compare events and fields, and print the text that a person would read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from consumer.telemetry.log_events import EVENTS


@dataclass(frozen=True)
class LogLine:
    """A line of a consumer's log: the text that a person would read, and the fields of the JSON record."""

    text: str
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, line: str) -> Self:
        """Parse a line. A line that is not a JSON record, such as an early error message, has no fields."""
        try:
            fields = json.loads(line)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            return cls(line, {})
        trace = "".join(f"    {more}\n" for more in fields.get("exception", "").splitlines())
        return cls(f"{fields['time']} {fields['level']:<7} {fields['message']}\n{trace}", fields)

    def tells(self, event: str, text: str, fields: Mapping[str, object]) -> bool:
        """Whether the record has this event and these fields, and its text contains `text`."""
        return {"event": event, **fields}.items() <= self.fields.items() and text in self.text


def records_of(event: str, log: str) -> list[LogLine]:
    """Find the records of an event in the text of a log."""
    assert event in EVENTS, f"no such event: {event}"
    return [line for line in map(LogLine.read, log.splitlines()) if line.tells(event, "", {})]
