"""How jobs ended whose settlement RabbitMQ may not have got: what comes again is answered, not run again.

Pure: a clock is passed in. RabbitMQ delivers again at most what was unsettled on one connection, a prefetch of
messages, and puts it ahead of its queue: a small memory for a short time is enough. A forgotten job costs a
second run, never a wrong answer.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import NamedTuple

from consumer.job import Job, Outcome, Succeeded, Unsuccessful

#: Longer than it takes to notice a silent connection and to build a new one.
KEEP_S = 300.0
#: All outcomes together. Most are small; a large one may push out many.
MAX_BYTES = 64 * 1024 * 1024
#: What an entry costs beside its text, roughly.
_ENTRY_BYTES = 500


class Identity(NamedTuple):
    """One attempt of one job. Producers reuse ids, so the body is part of it. A tuple, for its quick hash."""

    id: str
    attempt: int
    replayed: int
    digest: bytes

    @classmethod
    def of(cls, job: Job) -> Identity:
        """Tell which job it is. One without an id of its producer's has a new one at each delivery."""
        request = job.request
        return cls(request.id, request.attempt, request.replayed, hashlib.sha256(job.body).digest())


class Sent(NamedTuple):
    """What was published for an attempt, as far as another receiver, or another answer, differs in it."""

    queue: str
    correlation_id: str | None
    type: str | None


class _Entry(NamedTuple):
    outcome: Outcome
    size: int
    until: float
    sent: set[Sent]


class Remembered:
    """Outcomes by identity, the oldest forgotten first.

    Mutable state: `_entries`, in the order in which they will be forgotten; `_bytes`, their sizes' sum.
    """

    def __init__(
        self,
        capacity: int,
        *,
        keep_s: float = KEEP_S,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capacity = capacity
        self._keep_s = keep_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: dict[Identity, _Entry] = {}
        self._bytes = 0

    def add(self, identity: Identity, outcome: Outcome) -> None:
        """Remember how a job ended; the latest ending counts."""
        self._forget(identity)
        now = self._clock()
        entry = _Entry(outcome, _size(outcome), now + self._keep_s, set())
        self._entries[identity] = entry
        self._bytes += entry.size
        while self._is_too_much(now):
            self._forget(next(iter(self._entries)))

    def find(self, identity: Identity) -> Outcome | None:
        """Tell how a job ended, if that is still known."""
        entry = self._entries.get(identity)
        if entry is None or entry.until < self._clock():
            return None
        return entry.outcome

    def note_sent(self, identity: Identity, sent: Sent) -> None:
        """Remember that RabbitMQ has what was published for this attempt, in case it cannot be acked any more."""
        if entry := self._entries.get(identity):
            entry.sent.add(sent)

    def has_sent(self, identity: Identity, sent: Sent) -> bool:
        """Whether RabbitMQ has it."""
        entry = self._entries.get(identity)
        return entry is not None and sent in entry.sent

    def __len__(self) -> int:
        return len(self._entries)

    def _is_too_much(self, now: float) -> bool:
        if len(self._entries) > self._capacity or self._bytes > self._max_bytes:
            return True
        oldest = next(iter(self._entries.values()), None)
        return oldest is not None and oldest.until < now

    def _forget(self, identity: Identity) -> None:
        if entry := self._entries.pop(identity, None):
            self._bytes -= entry.size


def _size(outcome: Outcome) -> int:
    if isinstance(outcome, Succeeded):
        return _ENTRY_BYTES + len(outcome.output)
    if isinstance(outcome, Unsuccessful):
        return _ENTRY_BYTES + len(outcome.message) + len(outcome.stderr_tail)
    return _ENTRY_BYTES
