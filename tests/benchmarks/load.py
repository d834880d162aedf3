"""The load generator: so many requests in flight, the next one published when a reply comes; every reply kept.

A closed loop in the process that calls it, the same for each contender: only the envelope of a message is the
contender's own. Replies are looked into when the clock has stopped, and the garbage collector waits until then.
`cpu_s` is what this thread itself took, because it is taken from the contender.

CPU per message of 6 KB, sent to the queue of the replies and received, 64 in flight: 0.018 ms here, 0.09 ms with
pika, 0.10 ms with py-amqp, 0.16 ms with aiormq on uvloop and without confirms. Hence amqp_socket.py.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amqp_socket import ID_PLACEHOLDER, Connection
from results import quantile

#: Requests at saturation: more than any contender prefetches.
IN_FLIGHT = 64


@dataclass(frozen=True)
class Reply:
    """One request's end: which message it was (its place among the messages), how long it took, its answer."""

    message: int
    latency_s: float
    body: bytes


@dataclass(frozen=True)
class Run:
    """What a run gave: all replies in the order they came, wall time and the generator's own CPU time."""

    replies: tuple[Reply, ...]
    wall_s: float
    cpu_s: float

    @property
    def jobs_per_s(self) -> float:
        return len(self.replies) / self.wall_s

    def latency_ms(self, share: float) -> float:
        """The latency that this share of the replies did not exceed."""
        return quantile([reply.latency_s for reply in self.replies], share) * 1000


class UnexpectedReplyError(Exception):
    """A reply to a request that is not in flight: a duplicate, or an id that was mangled."""


class Load:
    """Sends encoded messages on one connection. Mutable state: `_count`, so that no id is used twice."""

    def __init__(self, connection: Connection, messages: Sequence[bytes]) -> None:
        self._connection = connection
        self._messages = messages
        self._count = 0

    def run(self, jobs: int, in_flight: int, enough: Callable[[], bool] = lambda: False) -> Run:
        """Send `jobs` messages, taken in turn, never more than `in_flight` unanswered.

        Once it is `enough`, nothing more is sent; what is under way is still waited for.

        Raises:
            TimeoutError: for as long as the connection waits no reply came at all.
            UnexpectedReplyError: a reply came that nobody waits for.
        """
        gc.collect()
        gc.disable()
        try:
            return self._run(jobs, in_flight, enough)
        finally:
            gc.enable()

    def _run(self, jobs: int, in_flight: int, enough: Callable[[], bool]) -> Run:
        pending: dict[bytes, tuple[int, float]] = {}
        replies: list[Reply] = []
        cpu, begun = time.thread_time(), time.perf_counter()
        left = jobs - self._send(min(in_flight, jobs), pending)
        while pending:
            received = self._connection.receive()
            now = time.perf_counter()
            for correlation, body in received:
                message, sent = _taken(pending, correlation, body)
                replies.append(Reply(message, now - sent, body))
            left -= left if enough() else self._send(min(left, len(received)), pending)
        return Run(tuple(replies), time.perf_counter() - begun, time.thread_time() - cpu)

    def _send(self, count: int, pending: dict[bytes, tuple[int, float]]) -> int:
        """Publish the next `count` messages in one write."""
        if not count:
            return 0
        now = time.perf_counter()
        outgoing = []
        for _ in range(count):
            name = b"%036d" % self._count
            message = self._count % len(self._messages)
            outgoing.append(self._messages[message].replace(_PLACEHOLDER, name))
            pending[name] = (message, now)
            self._count += 1
        self._connection.publish(b"".join(outgoing))
        return count


_PLACEHOLDER = ID_PLACEHOLDER.encode()


def _taken(pending: dict[bytes, tuple[int, float]], correlation: bytes, body: bytes) -> tuple[int, float]:
    # amqp-publish can set no correlation id: what answers with it puts the id into the body.
    name = correlation or str(json.loads(body).get("id")).encode()
    try:
        return pending.pop(name)
    except KeyError:
        raise UnexpectedReplyError(f"no request {name!r} is in flight, but a reply came: {body[:200]!r}") from None
