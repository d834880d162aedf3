"""The names and arguments of the exchange and of all queues. No other module contains such a name.

Pure: lists the declarations in their order; rabbitmq/admin.py sends them. RabbitMQ refuses to declare an existing
queue with other arguments, so a change here breaks running installations. Quorum queues and at-least-once
dead-lettering need RabbitMQ 3.10 or later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Up to RabbitMQ 4.2, every lost connection counts as a return of its unsettled messages, and 4.x dead-letters a
#: message after 20 returns by default. 100 is more than any number of restarts during a job, and still ends a job
#: that kills its consumer.
DELIVERY_LIMIT = 100
#: Reading a dead letter or a result and requeueing it also counts as a return; 4.x would delete it after 20.
#: RabbitMQ 3.10 refuses -1 (no limit), so this number is out of reach instead.
NO_DELIVERY_LIMIT = 1_000_000_000
#: Seconds before the second, third ... attempt; the last delay applies to all later attempts. The first delays are
#: short, because most crashes are transient. Later ones are longer, so that a lasting fault does not occupy the
#: pool.
RETRY_DELAYS_S = (1, 5, 25, 120)
#: Error records are read within days; the stream is no archive.
ERRORS_MAX_AGE = "7D"
ERRORS_MAX_BYTES = 100_000_000
#: A reply that was not fetched within a day is obsolete. A gateway keeps the same replies in memory.
GATEWAY_KEPT_S = 86_400
GATEWAY_MAX_BYTES = 100_000_000

#: The type of the dead-letter exchange, which is durable, as all queues are.
EXCHANGE_TYPE = "fanout"

Arguments = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue to declare, with its arguments."""

    name: str
    arguments: Arguments


@dataclass(frozen=True, slots=True)
class Topology:
    """All names under one prefix."""

    prefix: str
    max_attempts: int

    @property
    def jobs(self) -> str:
        """The queue that producers publish to, on the default exchange. Retries return to it."""
        return f"{self.prefix}.jobs"

    @property
    def dead_letter_exchange(self) -> str:
        """The only exchange, bound to `dead`.

        It gets the messages that are rejected or expire, and those that reach the delivery limit.
        """
        return f"{self.prefix}.dlx"

    @property
    def dead(self) -> str:
        return f"{self.prefix}.dead"

    @property
    def dead_lock(self) -> str:
        """An exclusive queue that exists while a command works on the dead-letter queue. It is always empty."""
        return f"{self.prefix}.dead.lock"

    @property
    def results(self) -> str:
        """The queue for replies to jobs without `reply_to`."""
        return f"{self.prefix}.results"

    @property
    def errors(self) -> str:
        """The stream of error records."""
        return f"{self.prefix}.errors"

    @property
    def gateway(self) -> str:
        """The stream of replies to jobs by HTTP; each gateway reads all of it."""
        return f"{self.prefix}.gateway"

    def retry(self, attempt: int) -> str:
        """The queue in which a job waits after this attempt has failed."""
        return f"{self.prefix}.retry.{_retry_delay_s(attempt)}s"

    def queues(self) -> list[Queue]:
        """List all queues. The dead-letter queue precedes the jobs queue, which needs it."""
        return [
            Queue(self.dead, _WITHOUT_DELIVERY_LIMIT),
            Queue(self.results, _WITHOUT_DELIVERY_LIMIT),
            self.error_stream(),
            Queue(self.jobs, self._jobs_arguments()),
            *self._retry_queues(),
        ]

    def needed_queues(self) -> list[Queue]:
        """List the queues without which no job can be run and settled."""
        return [queue for queue in self.queues() if queue.name != self.errors]

    def error_stream(self) -> Queue:
        """The only queue that jobs do not need: a dead-lettered job is kept even if its error record is lost."""
        return Queue(self.errors, _stream(ERRORS_MAX_AGE, ERRORS_MAX_BYTES))

    def gateway_queue(self) -> Queue:
        """The queue of the gateways. Only a gateway needs and declares it."""
        return Queue(self.gateway, _stream(f"{GATEWAY_KEPT_S}s", GATEWAY_MAX_BYTES))

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


_WITHOUT_DELIVERY_LIMIT: Arguments = {"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT}
#: All three are needed together: with overflow drop-head RabbitMQ silently falls back to at-most-once.
_AT_LEAST_ONCE: Arguments = {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}


def no_queue(name: str) -> str:
    """Return the message for a queue that does not exist: no consumer has created the queues of this prefix."""
    return (
        f"there is no queue {name!r}: no consumer has run with this `prefix` in this virtual host; check `prefix` "
        "and amqp_url, or start a consumer"
    )


def _stream(max_age: str, max_bytes: int) -> Arguments:
    return {
        "x-queue-type": "stream",
        "x-max-age": max_age,
        "x-max-length-bytes": max_bytes,
        # RabbitMQ keeps at least one segment; with its default of 500 MB the bound above would have no effect.
        "x-stream-max-segment-size-bytes": max_bytes // 10,
    }


def _retry_delay_s(attempt: int) -> int:
    return RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S)) - 1]
