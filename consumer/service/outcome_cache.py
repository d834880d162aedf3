"""Caches recent outcomes, so that a redelivered job is answered without a second run.

RabbitMQ may not have received the settlement of these jobs. It redelivers at most one prefetch of messages for
each lost connection, and delivers them before all others. So a small cache for a short time is enough.
A job that was dropped from the cache costs a second run, never a wrong reply. Pure: callers pass in the clock.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import NamedTuple

from consumer.job import Job, Outcome, Succeeded, Unsuccessful

#: Longer than it takes to detect a silent connection and to reconnect.
KEEP_S = 300.0
#: The limit for all outcomes together. Most are small; a large one may displace many.
MAX_BYTES = 64 * 1024 * 1024
#: The approximate size of an entry without its texts.
_ENTRY_BYTES = 500


class Identity(NamedTuple):
    """One attempt of one job. Includes the body, because producers reuse ids. A tuple, for its fast hash."""

    id: str
    attempt: int
    replayed: int
    digest: bytes

    @classmethod
    def of(cls, job: Job) -> Identity:
        """Identify a job. Without an id from its producer, it has a new identity at each delivery."""
        request = job.request
        return cls(request.id, request.attempt, request.replayed, hashlib.sha256(job.body).digest())


class Sent(NamedTuple):
    """Identifies a message published for an attempt: its receiver, and the variant of its content."""

    queue: str
    correlation_id: str | None
    type: str | None


class _Entry(NamedTuple):
    outcome: Outcome
    size: int
    until: float
    sent: set[Sent]


class OutcomeCache:
    """Outcomes by identity; the oldest are dropped first.

    Mutable state: `_entries`, in the order in which they will be dropped; `_bytes`, the sum of their sizes.
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
        """Store the outcome of a job; the latest one counts."""
        self._forget(identity)
        now = self._clock()
        entry = _Entry(outcome, _size(outcome), now + self._keep_s, set())
        self._entries[identity] = entry
        self._bytes += entry.size
        while self._is_too_much(now):
            self._forget(next(iter(self._entries)))

    def find(self, identity: Identity) -> Outcome | None:
        """Return the outcome of a job, if it is still stored."""
        entry = self._entries.get(identity)
        if entry is None or entry.until < self._clock():
            return None
        return entry.outcome

    def note_sent(self, identity: Identity, sent: Sent) -> None:
        """Record that RabbitMQ has confirmed this message, in case the job cannot be acked any more."""
        if entry := self._entries.get(identity):
            entry.sent.add(sent)

    def has_sent(self, identity: Identity, sent: Sent) -> bool:
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
