"""Formats all facts of a dead letter: as a line of JSON for programs, or in full for a person.

A program gets every text unchanged. A person gets foreign text escaped, so that no text can imitate another line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from consumer.dead_letters.model import Entry, Letter
from consumer.escaping import escaped, escaped_lines
from consumer.wire.encoding import GZIP, MOST_SHOWN_BYTES, MOST_UNPACKED_BYTES, decoded
from consumer.wire.message import Message
from consumer.wire.write import ErrorRecord

SHOWN_CHARACTERS = 100_000
#: The shown part of a body: enough to recognise the job. A signal of 10,000 samples would push the reason off the
#: screen.
BODY_CHARACTERS = 1024
_PROPERTIES = (
    "message_id",
    "correlation_id",
    "reply_to",
    "type",
    "content_type",
    "content_encoding",
    "priority",
    "app_id",
)


def write_json(entries: Iterable[Entry], now: float) -> None:
    """Print each entry as a line of JSON on standard output."""
    for entry in entries:
        sys.stdout.write(json.dumps(_facts(entry, now)) + "\n")


def _facts(entry: Entry, now: float) -> dict[str, Any]:
    """Make the object for programs; only JSON escapes its texts."""
    letter, why = entry.letter, entry.why
    return {
        "job_id": letter.id,
        "has_own_id": letter.has_own_id,
        "age_s": None if letter.died_at is None else round(now - letter.died_at, 1),
        "died_at": letter.died_at and moment(letter.died_at),
        "reason": letter.reason,
        "code": why and why.code,
        "message": why and why.message,
        "attempt": letter.attempt,
        "model": letter.model,
        "replayed": letter.replayed,
        "correlation_id": letter.correlation_id,
        "reply_to": letter.reply_to,
        "body_bytes": letter.size,
    }


def portrait(letter: Letter, message: Message, records: Iterable[ErrorRecord]) -> list[str]:
    """Format why the job failed, last failure first, then all facts, then the beginning of the body.

    Each foreign text is on its own line.
    """
    facts = {
        "reason": letter.reason,
        "job id": letter.id,
        "died": letter.died_at and moment(letter.died_at),
        "attempt": letter.attempt,
        "model": letter.model,
        "replayed": letter.replayed or None,
        **{name: getattr(message, name) for name in _PROPERTIES},
        "timestamp": message.timestamp and moment(message.timestamp),
        **{f"undecodable {name}": why for name, why in message.undecodable.items()},
        **{f"header {name}": value for name, value in message.headers.items()},
    }
    lines = [line for record in reversed([*records]) if _is_of(record, letter) for line in _record_lines(record)]
    lines += [f"{_value(name) + ':':<17} {_value(value)}" for name, value in facts.items() if value is not None]
    return [*lines, *_beginning(letter, _text(message))]


def _is_of(record: ErrorRecord, letter: Letter) -> bool:
    is_nameless = not letter.has_own_id and record.correlation_id == letter.correlation_id
    return record.job_id == letter.id or is_nameless


def _beginning(letter: Letter, body: str) -> list[str]:
    """Format the beginning of the body, with a note if there is more."""
    more = "; this is the beginning, `show --body` writes all" if len(body) > BODY_CHARACTERS else ""
    return [f"body ({letter.size} bytes{more}):", *_indented(body[:BODY_CHARACTERS])]


def _text(message: Message) -> str:
    """Return the body as the classifier would get it, or unchanged if it cannot be decoded."""
    body = decoded(message.body, MOST_SHOWN_BYTES, message.content_encoding, message.content_type)
    return (message.body if isinstance(body, str) else body).decode(errors="backslashreplace")


def unpacked(message: Message) -> bytes:
    """Return the body's exact bytes, decompressed if it is gzip, so that a person can run the job again."""
    if (message.content_encoding or "").strip().lower() not in GZIP:
        return message.body
    body = decoded(message.body, MOST_UNPACKED_BYTES, message.content_encoding, message.content_type)
    return message.body if isinstance(body, str) else body


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _value(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, list | dict) else str(value)
    return escaped(text, SHOWN_CHARACTERS)


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in escaped_lines(text, SHOWN_CHARACTERS) if text]


def _record_lines(record: ErrorRecord) -> list[str]:
    what = f"{record.code} at attempt {record.attempt} after {record.run_ms:g} ms"
    first = f"{'error record:':<17} {_value(record.time)} {what}, {_value(record.consumer)}"
    return [first, *_indented(record.message), *_indented(record.stderr_tail)]
