"""A load that comes when it comes, answered or not: several streams, each to a queue of its own.

One process and one clock publish and receive, so no clocks are compared. How late each job was published is kept,
as a generator that falls behind would measure itself.
"""

from __future__ import annotations

import gc
import heapq
import json
import select
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from amqp_socket import ID_PLACEHOLDER, Connection

_PLACEHOLDER = ID_PLACEHOLDER.encode()
#: The first job comes so long after the start, so that it is not late.
LEAD_S = 0.2
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Answered:
    """One job: when it was published (seconds since the start), how late, until its reply, its run and output."""

    at_s: float
    late_s: float
    total_s: float
    run_s: float
    output: dict[str, float]

    @property
    def wait_s(self) -> float:
        """All that was not the run."""
        return self.total_s - self.run_s


@dataclass
class Stream:
    """Jobs for one queue: when each comes, its message. Mutable state: what was published, and answered."""

    connection: Connection
    arrivals_s: Sequence[float]
    messages: Sequence[bytes]
    sent: list[tuple[float, float]] = field(default_factory=list)
    answered: dict[int, Answered] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        return len(self.answered) == len(self.messages)

    @property
    def jobs(self) -> list[Answered]:
        """In the order of their arrival."""
        return [self.answered[number] for number in range(len(self.messages))]

    def publish_next(self, begun: float) -> None:
        number = len(self.sent)
        self.connection.publish(self.messages[number].replace(_PLACEHOLDER, b"%036d" % number))
        now = time.perf_counter() - begun
        self.sent.append((now, now - self.arrivals_s[number]))

    def receive(self, begun: float) -> None:
        """Take the replies that are there.

        Raises:
            ValueError: a job did not succeed, or was answered before.
        """
        came = self.connection.receive()
        now = time.perf_counter() - begun
        for correlation, body in came:
            number, reply = int(correlation), json.loads(body)
            if reply["status"] != "succeeded" or number in self.answered:
                raise ValueError(f"not the one success of job {number}: {body[:500]!r}")
            at_s, late_s = self.sent[number]
            self.answered[number] = Answered(at_s, late_s, now - at_s, reply["run_ms"] / 1000, reply["output"])


def drive(streams: Sequence[Stream]) -> float:
    """Publish all jobs of all streams, each when it comes, and wait for every reply; return when the first came.

    Raises:
        TimeoutError: no reply came for a minute.
        ValueError: a job did not succeed, or was answered twice.
    """
    gc.collect()
    gc.disable()
    try:
        return _drive(streams)
    finally:
        gc.enable()


def _drive(streams: Sequence[Stream]) -> float:
    due = list(heapq.merge(*([(at, place) for at in stream.arrivals_s] for place, stream in enumerate(streams))))
    due.reverse()  # the next one is last
    begun = time.perf_counter() + LEAD_S
    while not all(stream.is_done for stream in streams):
        now = time.perf_counter() - begun
        if due and due[-1][0] <= now:
            streams[due.pop()[1]].publish_next(begun)
            continue
        readable = [stream for stream in streams if not stream.is_done]
        ready, _, _ = select.select(
            [stream.connection for stream in readable], [], [], due[-1][0] - now if due else PATIENCE_S
        )
        if not ready and not due:
            raise TimeoutError(f"no reply for {PATIENCE_S:g} s")
        for stream in readable:
            if stream.connection in ready:
                stream.receive(begun)
    return begun
