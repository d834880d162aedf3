"""The name and the arguments of every exchange and queue: nothing else in the code spells one.

Pure: says what there is to declare, in the order to declare it in; session.py does it. RabbitMQ refuses to
declare a queue again with other arguments, so a change here is a breaking change for running installations.
Evidence for each argument: quorum queues and at-least-once dead-lettering exist from RabbitMQ 3.10 on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Every connection that is lost while it holds a message counts as a return up to RabbitMQ 4.2, and 4.x ends
#: a message after 20 by default. Far above any number of restarts, it still ends a job that kills its consumer.
DELIVERY_LIMIT = 100
#: Looking at a dead letter or a result and putting it back is a return, too; 4.x would delete it after 20.
#: RabbitMQ 3.10 refuses -1 (no limit), so: a number nobody reaches.
NO_DELIVERY_LIMIT = 1_000_000_000
#: Seconds before the second, third ... attempt; the last one is used for all that follow. Short first, as most
#: crashes are passing; longer later, so that a lasting fault does not eat the pool.
RETRY_DELAYS_S = (1, 5, 25, 120)
#: Error records are for reading within days, not an archive.
ERRORS_MAX_AGE = "7D"
ERRORS_MAX_BYTES = 100_000_000
#: A reply that nobody has fetched within a day is wanted no more. A gateway keeps in memory what the stream holds.
GATEWAY_KEPT_S = 86_400
GATEWAY_MAX_BYTES = 100_000_000

Arguments = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue to declare, with its arguments."""

    name: str
    arguments: Arguments


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange to declare. `queues`: those that are bound to it."""

    name: str
    type: str
    queues: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """All names under one prefix."""

    prefix: str
    max_attempts: int

    @property
    def jobs(self) -> str:
        """The queue that producers publish to, on the default exchange. Retries come back here."""
        return f"{self.prefix}.jobs"

    @property
    def dead_letter_exchange(self) -> str:
        """Where RabbitMQ sends what was nacked, expired or returned too often: a fanout exchange."""
        return f"{self.prefix}.dlx"

    @property
    def dead(self) -> str:
        """The dead-letter queue."""
        return f"{self.prefix}.dead"

    @property
    def dead_lock(self) -> str:
        """An exclusive queue, there while somebody works on the dead-letter queue; nothing is ever in it."""
        return f"{self.prefix}.dead.lock"

    @property
    def results(self) -> str:
        """Where the replies of jobs without `reply_to` go."""
        return f"{self.prefix}.results"

    @property
    def errors(self) -> str:
        """The stream of error records."""
        return f"{self.prefix}.errors"

    @property
    def gateway(self) -> str:
        """The stream of replies to jobs that came by HTTP: each gateway reads all of it."""
        return f"{self.prefix}.gateway"

    def retry(self, attempt: int) -> str:
        """The queue in which a job waits after its attempt-th try failed."""
        return f"{self.prefix}.retry.{_retry_delay_s(attempt)}s"

    def queues(self) -> list[Queue]:
        """List all queues. The dead-letter queue comes before the jobs queue that needs it."""
        return [
            Queue(self.dead, _LOOKED_AT),
            Queue(self.results, _LOOKED_AT),
            self.error_stream(),
            Queue(self.jobs, self._jobs_arguments()),
            *self._retry_queues(),
        ]

    def needed_queues(self) -> list[Queue]:
        """List the queues without which no job can be run and settled."""
        return [queue for queue in self.queues() if queue.name != self.errors]

    def error_stream(self) -> Queue:
        """The one queue that jobs can do without: a dead-lettered job is kept, with or without its record."""
        return Queue(self.errors, _stream(ERRORS_MAX_AGE, ERRORS_MAX_BYTES))

    def gateway_queue(self) -> Queue:
        """The one queue that only a gateway needs: there is none where nobody runs one."""
        return Queue(self.gateway, _stream(f"{GATEWAY_KEPT_S}s", GATEWAY_MAX_BYTES))

    def exchanges(self) -> list[Exchange]:
        """List all exchanges, each to be declared before the queues, and bound after them."""
        return [Exchange(self.dead_letter_exchange, "fanout", (self.dead,))]

    def _jobs_arguments(self) -> Arguments:
        return {
            "x-queue-type": "quorum",
            "x-dead-letter-exchange": self.dead_letter_exchange,
            "x-delivery-limit": DELIVERY_LIMIT,
            **_AT_LEAST_ONCE,
        }

    def _retry_queues(self) -> list[Queue]:
        delays = sorted({_retry_delay_s(attempt) for attempt in range(1, self.max_attempts)})
        return [Queue(f"{self.prefix}.retry.{delay}s", self._retry_arguments(delay)) for delay in delays]

    def _retry_arguments(self, delay_s: int) -> Arguments:
        return {
            "x-queue-type": "quorum",
            "x-message-ttl": delay_s * 1000,
            "x-dead-letter-exchange": "",  # the default exchange: straight back to the jobs queue
            "x-dead-letter-routing-key": self.jobs,
            **_AT_LEAST_ONCE,
        }


_LOOKED_AT: Arguments = {"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT}
#: All three are needed together: with overflow drop-head RabbitMQ falls back to at-most-once without a word.
_AT_LEAST_ONCE: Arguments = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


def _stream(max_age: str, max_bytes: int) -> Arguments:
    return {
        "x-queue-type": "stream",
        "x-max-age": max_age,
        "x-max-length-bytes": max_bytes,
        # One segment is the least that RabbitMQ keeps; the default of 500 MB would make the bound above void.
        "x-stream-max-segment-size-bytes": max_bytes // 10,
    }


def _retry_delay_s(attempt: int) -> int:
    return RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S)) - 1]
