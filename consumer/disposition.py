"""Decides every publish and every settlement, in two tables. Pure: no I/O, no clock.

The first table maps the outcome of a job, and whether another attempt is left, to a disposition. The second one
lists what remains to be done if one of its publishes fails. An outcome or a fault that is missing from its table
is a bug and raises KeyError. `service/settle.py` executes a disposition.
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
    OverOutput,
    Succeeded,
    TimedOut,
)


class Settlement(Enum):
    """How the service settles the delivery; always the last step."""

    #: basic.ack: RabbitMQ deletes the message.
    ACK = "ack"
    #: basic.nack(requeue=False): RabbitMQ moves it to the dead-letter exchange, reason `rejected`.
    DEAD_LETTER = "dead-letter"
    #: basic.ack: a copy with attempt + 1 waits in a retry queue.
    RETRY = "retry"
    #: basic.nack(requeue=True): RabbitMQ redelivers it, unchanged.
    REQUEUE = "requeue"


class Publish(Enum):
    """What is published and confirmed before the settlement."""

    RETRY_COPY = "retry copy"
    REPLY = "reply"
    #: To the stream of errors: a rejected message itself cannot carry a reason.
    ERROR_RECORD = "error record"


class Fault(Enum):
    """Why RabbitMQ does not have a published message."""

    #: The queue does not exist, or accepts or confirms no messages.
    REFUSED = "refused"
    #: RabbitMQ had named the reply queue for its caller, and deleted it with the caller.
    CALLER_GONE = "caller gone"
    #: Larger than RabbitMQ's max_message_size.
    TOO_LARGE = "too large"


@dataclass(frozen=True, slots=True)
class Disposition:
    """What happens to a delivery: `publishes` in this order, each confirmed, and then the settlement."""

    settlement: Settlement
    publishes: tuple[Publish, ...] = ()

    @property
    def replies(self) -> bool:
        """Whether the producer gets a reply."""
        return Publish.REPLY in self.publishes

    def after(self, publish: Publish) -> Disposition:
        """Return the remaining steps after `publish` was confirmed or given up."""
        return Disposition(self.settlement, self.publishes[self.publishes.index(publish) + 1 :])


ANSWER = Disposition(Settlement.ACK, (Publish.REPLY,))
BURY = Disposition(Settlement.DEAD_LETTER, (Publish.REPLY, Publish.ERROR_RECORD))
RETRY = Disposition(Settlement.RETRY, (Publish.RETRY_COPY,))
HAND_BACK = Disposition(Settlement.REQUEUE)
#: The caller's own queue disappeared with the caller. Nothing waits for the reply, and the job has no fault.
FORGET = Disposition(Settlement.ACK)
#: A named reply queue does not exist: an operator's mistake, so the job is dead-lettered and can be replayed.
KEEP = Disposition(Settlement.DEAD_LETTER, (Publish.ERROR_RECORD,))
GIVE_UP = Disposition(Settlement.DEAD_LETTER)

#: outcome -> (while attempts are left, at the last attempt)
TABLE: dict[type[Outcome], tuple[Disposition, Disposition]] = {
    Succeeded: (ANSWER, ANSWER),
    Failed: (BURY, BURY),
    Invalid: (BURY, BURY),
    Crashed: (RETRY, BURY),
    InvalidOutput: (RETRY, BURY),
    TimedOut: (RETRY, BURY),
    OverLimit: (RETRY, BURY),
    OverOutput: (BURY, BURY),
    Interrupted: (HAND_BACK, HAND_BACK),
    Abandoned: (FORGET, FORGET),
}

#: (publish, fault) -> (the new disposition of a delivery that would have been acked, and of one that would have
#: been dead-lettered). An error reply replaces a reply that is too large. An error record without a stream is
#: given up: only the dead-lettered job itself must not be lost.
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
    """Return the disposition of a delivery whose job had this outcome at attempt `attempt` of `max_attempts`."""
    attempts_left, last_attempt = TABLE[type(outcome)]
    return attempts_left if attempt < max_attempts else last_attempt


def decide_again(decided: Disposition, publish: Publish, fault: Fault) -> Disposition:
    """Return the new disposition after RabbitMQ did not accept `publish`."""
    acked, dead_lettered = FAULTS[publish, fault]
    return dead_lettered if decided.settlement is Settlement.DEAD_LETTER else acked


def reply_fault(reply_to: str) -> Fault:
    """Classify why a reply found no queue that is named `reply_to`.

    RabbitMQ chose a name that begins with `amq.` for one caller, whose queue or channel has disappeared. A
    producer or operator chose any other name, and expects the reply there.
    """
    return Fault.CALLER_GONE if reply_to.startswith("amq.") else Fault.REFUSED
