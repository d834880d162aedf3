"""Extracts the facts of dead letters, finds why each died, and selects letters by filters.

Pure: it turns a message into a `Letter` without its body, and letters with error records into the selected ones.
Any producer may have written the messages, so invalid content raises nothing, and a missing fact is None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

from pydantic_core import SchemaValidator, core_schema

from consumer.config.units import SECONDS
from consumer.escaping import escaped
from consumer.wire.encoding import MOST_SHOWN_BYTES, decoded
from consumer.wire.message import ATTEMPT_HEADER, JOB_ID_HEADER, Message, replayed
from consumer.wire.reply_address import CALLERS_OWN_PREFIXES
from consumer.wire.write import ErrorRecord

#: The kept part of an error message, which may quote a whole traceback. `show` reads the records again for the
#: rest.
REASON_CHARACTERS = 500
#: AMQP's short string has up to 255 bytes, and escaping may turn each into four characters.
ID_CHARACTERS = 1100
#: The bytes of the body's digest that replace the id of a job without one.
_SHORT_DIGEST = 5
#: Reads only `model`: half the time of parsing the job into a dict.
_WITH_MODEL = SchemaValidator(
    core_schema.typed_dict_schema(
        {"model": core_schema.typed_dict_field(core_schema.str_schema(strict=True))}, extra_behavior="ignore"
    )
)


class Key(NamedTuple):
    """Identifies a letter in a later pass. A job that is dead-lettered again gets another key."""

    id: str
    died_at: float | None
    replayed: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter. `id` is the job's id; for a job without one, `~` and a part of the body's digest.

    `died_at` is in seconds since the epoch, by RabbitMQ's clock. `reason` is RabbitMQ's reason for dead-lettering,
    such as `rejected`. Both are None for a message that was published directly to this queue. `damage` names the
    properties that cannot be decoded: a copy would lack them.
    """

    id: str
    digest: bytes
    size: int
    died_at: float | None = None
    reason: str | None = None
    attempt: int = 1
    model: str | None = None
    replayed: int = 0
    correlation_id: str | None = None
    reply_to: str | None = None
    damage: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        return Key(self.id, self.died_at, self.replayed, self.digest)

    @property
    def shown_id(self) -> str:
        """The id as a terminal shows it and people type it."""
        return escaped(self.id, ID_CHARACTERS)

    def has_id(self, name: str) -> bool:
        """Whether `name` is the id of the letter, as received or as displayed."""
        return name in (self.id, self.shown_id)

    @property
    def has_own_id(self) -> bool:
        """Whether the producer, or the service at a retry, gave the job an id."""
        return not self.id.startswith("~")

    @property
    def answers_a_caller(self) -> bool:
        """Whether the reply goes to an address that may have disappeared with its caller."""
        return bool(self.reply_to and self.reply_to.startswith(CALLERS_OWN_PREFIXES))


def read_letter(message: Message) -> Letter:
    """Read the facts of a dead letter without keeping its body."""
    digest = blake2b(message.body, digest_size=16).digest()
    job_id = message.headers.get(JOB_ID_HEADER) or message.message_id
    attempt = message.headers.get(ATTEMPT_HEADER)
    death = _last_death(message.headers.get("x-death"))
    return Letter(
        id=job_id if isinstance(job_id, str) and job_id else f"~{digest[:_SHORT_DIGEST].hex()}",
        digest=digest,
        size=len(message.body),
        died_at=_seconds(death.get("time")),
        reason=_text(death.get("reason")),
        attempt=attempt if type(attempt) is int else 1,
        model=_model(message),
        replayed=replayed(message),
        correlation_id=message.correlation_id or message.message_id,
        reply_to=message.reply_to,
        damage=tuple(message.undecodable),
    )


def _last_death(deaths: object) -> dict[str, Any]:
    """Return the latest death: RabbitMQ keeps one entry for each queue and reason, with the latest first."""
    first = deaths[0] if isinstance(deaths, list) and deaths else None
    return first if isinstance(first, dict) else {}


def _seconds(value: object) -> float | None:
    return value.timestamp() if isinstance(value, datetime) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _model(message: Message) -> str | None:
    body = decoded(message.body, MOST_SHOWN_BYTES, message.content_encoding, message.content_type)
    try:
        return str(_WITH_MODEL.validate_json(body)["model"])
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Why:
    """The part of an error record that stays in memory, for thousands of letters."""

    code: str
    message: str
    time: float | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A letter and its error record.

    `why` is None if RabbitMQ itself dead-lettered the job, or the record expired.
    """

    letter: Letter
    why: Why | None


class Reasons:
    """Error records by job, for the given letters only.

    Mutable state: `_found`, by the job's id and by its correlation id.
    """

    def __init__(self, letters: Iterable[Letter]) -> None:
        names = (name for letter in letters for name in (letter.id, letter.correlation_id) if name)
        self._found: dict[str, list[Why]] = {name: [] for name in names}

    def see(self, record: ErrorRecord) -> None:
        """Store a record if it may belong to one of the letters."""
        why = Why(str(record.code), record.message[:REASON_CHARACTERS], _moment(record.time))
        for name in {record.job_id, record.correlation_id}:
            if name in self._found:
                self._found[name].append(why)

    def of(self, letter: Letter) -> Why | None:
        """Find the record of a letter. If the job failed several times, return the record nearest in time.

        The record of a job without an id has a new id, so this looks it up by the correlation id, if there is one.
        """
        found = self._found.get(letter.id) or (
            self._found.get(letter.correlation_id or "") if not letter.has_own_id else None
        )
        if not found:
            return None
        died_at = letter.died_at
        if died_at is None:
            return found[-1]
        return min(found, key=lambda why: abs((why.time or 0.0) - died_at))


def _moment(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Selects the first `limit` letters that match.

    A letter matches if its age is within the limits, and each set is empty or contains the letter's value.
    """

    ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    older_than_s: float | None = None
    newer_than_s: float | None = None
    limit: int | None = None

    @property
    def is_everything(self) -> bool:
        return self == Selection(limit=self.limit)

    def of(self, entries: Iterable[Entry], now: float) -> Iterator[Entry]:
        left = self.limit
        for entry in entries:
            if left == 0:
                return
            if self._matches(entry, now):
                left = None if left is None else left - 1
                yield entry

    def _matches(self, entry: Entry, now: float) -> bool:
        letter = entry.letter
        tests = (
            (self.reasons, letter.reason),
            (self.codes, entry.why.code if entry.why else None),
            (self.models, letter.model),
        )
        is_named = not self.ids or any(map(letter.has_id, self.ids))
        is_kind = all(not wanted or found in wanted for wanted, found in tests)
        return is_named and is_kind and self._is_of_age(letter, now)

    def _is_of_age(self, letter: Letter, now: float) -> bool:
        if letter.died_at is None:
            return self.older_than_s is None and self.newer_than_s is None
        age_s = now - letter.died_at
        return (self.older_than_s is None or age_s > self.older_than_s) and (
            self.newer_than_s is None or age_s < self.newer_than_s
        )


def show_age(seconds: float | None) -> str:
    """Format an age in its largest unit; `-` if it is not known."""
    if seconds is None:
        return "-"
    seconds = max(0.0, seconds)
    unit = next((unit for unit in "dhm" if seconds >= 2 * SECONDS[unit]), "s")
    return f"{seconds / SECONDS[unit]:.0f}{unit}"


def chosen(letters: Iterable[Letter]) -> Callable[[Letter], bool]:
    """Return a function that recognises these letters in a later pass, each of them once."""
    left = Counter(letter.key for letter in letters)

    def take(letter: Letter) -> bool:
        is_chosen = left[letter.key] > 0
        if is_chosen:
            left[letter.key] -= 1
        return is_chosen

    return take
