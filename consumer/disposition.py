"""Decides every publish and every settlement, in two tables. Pure: no I/O, no clock.

The first table says what follows from how a job ended and whether another attempt is left. The second says what
remains to be done when one of those publishes fails. An ending or a fault that is missing from its table is a bug
and raises KeyError. `service/settle.py` executes a disposition.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from consumer.job import (
    Abandoned,
    Crashed,
    Failed,
    Interrupted,
    Invalid,
    InvalidOutput,
    Outcome,
    OverLimit,
    Succeeded,
    TimedOut,
)


class Settlement(Enum):
    """What the delivery is answered with, always last."""

    #: Done: RabbitMQ forgets the message.
    ACK = "ack"
    #: basic.nack(requeue=False): RabbitMQ moves it to the dead-letter exchange, reason `rejected`.
    DEAD_LETTER = "dead-letter"
    #: Acknowledged as well: a copy with attempt + 1 waits in a retry queue.
    RETRY = "retry"
    #: basic.nack(requeue=True): as if it had never been delivered.
    REQUEUE = "requeue"


class Publish(Enum):
    """What is published, and confirmed, before the settlement."""

    RETRY_COPY = "retry copy"
    REPLY = "reply"
    #: To the stream of errors: a rejected message itself cannot carry a reason.
    ERROR_RECORD = "error record"


class Fault(Enum):
    """Why RabbitMQ does not have what was published."""

    #: No such queue, or one that takes or confirms no messages.
    REFUSED = "refused"
    #: The reply queue was named by RabbitMQ for its caller, and went with the caller.
    CALLER_GONE = "caller gone"
    #: Larger than RabbitMQ's max_message_size.
    TOO_LARGE = "too large"


@dataclass(frozen=True, slots=True)
class Disposition:
    """What becomes of a delivery: `publishes` in this order, each confirmed, and then the settlement."""

    settlement: Settlement
    publishes: tuple[Publish, ...] = ()

    @property
    def replies(self) -> bool:
        """Whether the producer gets a reply."""
        return Publish.REPLY in self.publishes

    def after(self, publish: Publish) -> Disposition:
        """What remains once this one is published, or given up."""
        return Disposition(self.settlement, self.publishes[self.publishes.index(publish) + 1 :])


ANSWER = Disposition(Settlement.ACK, (Publish.REPLY,))
BURY = Disposition(Settlement.DEAD_LETTER, (Publish.REPLY, Publish.ERROR_RECORD))
RETRY = Disposition(Settlement.RETRY, (Publish.RETRY_COPY,))
HAND_BACK = Disposition(Settlement.REQUEUE)
#: The caller's own queue went away with the caller: nobody is left to reply to, and nothing is wrong with the job.
FORGET = Disposition(Settlement.ACK)
#: A named reply queue does not exist: an operator's mistake, so the job is kept where it can be replayed.
KEEP = Disposition(Settlement.DEAD_LETTER, (Publish.ERROR_RECORD,))
GIVE_UP = Disposition(Settlement.DEAD_LETTER)

#: ending -> (while attempts are left, at the last attempt)
TABLE: dict[type[Outcome], tuple[Disposition, Disposition]] = {
    Succeeded: (ANSWER, ANSWER),
    Failed: (BURY, BURY),
    Invalid: (BURY, BURY),
    Crashed: (RETRY, BURY),
    InvalidOutput: (RETRY, BURY),
    TimedOut: (RETRY, BURY),
    OverLimit: (RETRY, BURY),
    Interrupted: (HAND_BACK, HAND_BACK),
    Abandoned: (FORGET, FORGET),
}

#: (publish, fault) -> (what remains for a job that was to be acked, what for one that was to be dead-lettered).
#: A reply that is too large is replaced by one that says so. An error record that finds no stream is given up: the
#: dead-lettered job itself is what must not be lost.
FAULTS: dict[tuple[Publish, Fault], tuple[Disposition, Disposition]] = {
    (Publish.RETRY_COPY, Fault.REFUSED): (BURY, BURY),
    (Publish.RETRY_COPY, Fault.TOO_LARGE): (BURY, BURY),
    (Publish.REPLY, Fault.REFUSED): (KEEP, KEEP),
    (Publish.REPLY, Fault.CALLER_GONE): (FORGET, KEEP),
    (Publish.REPLY, Fault.TOO_LARGE): (BURY, BURY),
    (Publish.ERROR_RECORD, Fault.REFUSED): (GIVE_UP, GIVE_UP),
    (Publish.ERROR_RECORD, Fault.TOO_LARGE): (GIVE_UP, GIVE_UP),
}


def decide(outcome: Outcome, *, attempt: int, max_attempts: int) -> Disposition:
    """Decide what becomes of a delivery whose job ended so, at its attempt-th try of max_attempts."""
    attempts_left, last_attempt = TABLE[type(outcome)]
    return attempts_left if attempt < max_attempts else last_attempt


def decide_again(decided: Disposition, publish: Publish, fault: Fault) -> Disposition:
    """Decide what remains after RabbitMQ did not take `publish`."""
    acked, dead_lettered = FAULTS[publish, fault]
    return dead_lettered if decided.settlement is Settlement.DEAD_LETTER else acked


def reply_fault(reply_to: str) -> Fault:
    """Judge a reply that RabbitMQ returned: no queue `reply_to` takes it.

    A server-named queue (`amq.gen-...`) was its caller's own and is gone with the caller. Any other name was
    chosen by somebody who still waits for the reply.
    """
    return Fault.CALLER_GONE if reply_to.startswith("amq.") else Fault.REFUSED
