"""Every reply and every settlement is decided here, in one table. Pure: no I/O, no clock.

Rows are endings, columns say whether another attempt is left. An ending that is missing from the table is a
bug and raises KeyError. Executing a disposition is the pipeline's part.
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
    """What RabbitMQ is told about the delivery, always last."""

    #: Done: RabbitMQ forgets the message.
    ACK = "ack"
    #: basic.nack(requeue=False): RabbitMQ moves it to the dead-letter exchange, reason `rejected`.
    DEAD_LETTER = "dead-letter"
    #: A copy with attempt + 1 goes to a retry queue, confirmed; then ack.
    RETRY = "retry"
    #: basic.nack(requeue=True): as if it had never been delivered.
    REQUEUE = "requeue"


@dataclass(frozen=True, slots=True)
class Disposition:
    """What becomes of a delivery. A job that ends without a result for good also leaves an error record."""

    settlement: Settlement
    reply: bool

    @property
    def records(self) -> bool:
        """Whether an error record is written: a nacked message itself cannot carry a reason."""
        return self.settlement is Settlement.DEAD_LETTER


ANSWER = Disposition(Settlement.ACK, reply=True)
BURY = Disposition(Settlement.DEAD_LETTER, reply=True)
RETRY = Disposition(Settlement.RETRY, reply=False)
HAND_BACK = Disposition(Settlement.REQUEUE, reply=False)
#: The caller's own queue went away with the caller: nobody is left to tell, and nothing is wrong with the job.
FORGET = Disposition(Settlement.ACK, reply=False)
#: A named reply queue does not exist: an operator's mistake, so the job is kept where it can be replayed.
KEEP = Disposition(Settlement.DEAD_LETTER, reply=False)

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


def decide(outcome: Outcome, *, attempt: int, max_attempts: int) -> Disposition:
    """Decide what becomes of a delivery whose job ended so, at its attempt-th try of max_attempts."""
    attempts_left, last_attempt = TABLE[type(outcome)]
    return attempts_left if attempt < max_attempts else last_attempt


def decide_unroutable(decided: Disposition, reply_to: str) -> Disposition:
    """Decide again after RabbitMQ returned the reply: no queue has the name `reply_to`.

    A server-named queue (`amq.gen-...`) was its caller's own and is gone with the caller. Any other name
    was chosen by somebody who still waits for the answer.
    """
    if decided.settlement is Settlement.DEAD_LETTER:
        return KEEP
    return FORGET if reply_to.startswith("amq.") else KEEP
