"""Lines of a log in JSON: a test asks for their events and fields, and prints the text that people would read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from consumer.telemetry.log_events import EVENTS


@dataclass(frozen=True)
class LogLine:
    """A line of a consumer's log: the text that people read, and the fields of the JSON record that it was."""

    text: str
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, line: str) -> Self:
        """Take a line as it was written; one that is no record (an early complaint) has no fields."""
        try:
            fields = json.loads(line)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            return cls(line, {})
        trace = "".join(f"    {more}\n" for more in fields.get("exception", "").splitlines())
        return cls(f"{fields['time']} {fields['level']:<7} {fields['message']}\n{trace}", fields)

    def tells(self, event: str, text: str, fields: Mapping[str, object]) -> bool:
        """Whether it is of this event, has this text in it and these fields."""
        return {"event": event, **fields}.items() <= self.fields.items() and text in self.text


def records_of(event: str, log: str) -> list[LogLine]:
    """Find the records of an event in a log, as far as it is written."""
    assert event in EVENTS, f"no such event: {event}"
    return [line for line in map(LogLine.read, log.splitlines()) if line.tells(event, "", {})]
