"""Executes a disposition: publishes what it lists, each confirmed, and settles the delivery last.

The one place that settles. A reply is confirmed by RabbitMQ before the job is acked, so a crash between the two
gives a second reply with the same job id, never a lost one. When a publish fails, `disposition.decide_again` says
what remains. What this process had confirmed for an earlier delivery of the same attempt is not published again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from consumer.disposition import Disposition, Fault, Publish, Settlement, decide_again, reply_fault
from consumer.job import Outcome, OverLimit, Request, Unroutable, Unsuccessful
from consumer.service.outcome_cache import Identity, Remembered, Sent
from consumer.service.settleable import Settleable
from consumer.telemetry.metrics import Metrics
from consumer.wire.message import Message, MessageTooLargeError
from consumer.wire.topology import Topology
from consumer.wire.write import error_record, reply, retry_copy

log = logging.getLogger(__name__)

#: Logged when a publish other than the reply fails; the reply's own fault is a warning with a metric.
_LOST = {
    Publish.RETRY_COPY: "job %s cannot be tried again: %s; create it, or start with `declare`",
    Publish.ERROR_RECORD: "job %s leaves no error record: %s",
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What is published for one delivery, but not again what this process had confirmed for the one before it.

    `identity` is None for what was no job, and is always published.
    """

    delivery: Settleable
    identity: Identity | None
    remembered: Remembered

    async def publish(self, message: Message, queue: str, *, may_give_up: bool) -> str | None:
        """Return None once RabbitMQ has the message, or why the queue did not get it."""
        sent = Sent(queue, message.correlation_id, message.type)
        if self.identity and self.delivery.redelivered and self.remembered.has_sent(self.identity, sent):
            return None
        publisher = self.delivery.publisher
        publish = publisher.publish_or_give_up if may_give_up else publisher.publish
        fault = await publish(message, queue)
        if self.identity and fault is None:
            self.remembered.note_sent(self.identity, sent)
        return fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Settler:
    """What settling any delivery needs. `consumer` names this process in error records."""

    topology: Topology
    metrics: Metrics
    consumer: str

    async def settle(
        self, answers: Answers, request: Request, outcome: Outcome, decided: Disposition
    ) -> tuple[Outcome, Settlement]:
        """Publish and settle; return the outcome that the producer was told, and the settlement.

        Raises:
            ConnectionLostError: the delivery cannot be settled any more.
        """
        reason = outcome  # what an error record names
        is_shortened = False  # the reply says only that the result is too large
        while decided.publishes:
            publish = decided.publishes[0]
            problem = await self._publish(publish, answers, request, outcome, reason)
            if problem is None:
                decided = decided.after(publish)
                continue
            fault, why = problem
            if publish is Publish.REPLY and fault is Fault.TOO_LARGE and is_shortened:
                fault = Fault.REFUSED  # there is nothing shorter to say
            decided = decide_again(decided, publish, fault)
            if publish is not Publish.REPLY:
                log.error(_LOST[publish], request.id, why, extra={"event": "copy_undeliverable"})
            elif fault is Fault.TOO_LARGE:
                outcome = reason = OverLimit(message=why, run_s=outcome.run_s)
                is_shortened = True
            else:
                self.metrics.count("replies.unroutable")
                log.warning(
                    "job %s: the reply was not delivered: %s",
                    request.id,
                    why,
                    extra={"event": "reply_undeliverable"},
                )
                reason = _with_fault(outcome, why)
        await _settle(answers.delivery, decided.settlement)
        return outcome, decided.settlement

    async def _publish(
        self, publish: Publish, answers: Answers, request: Request, outcome: Outcome, reason: Outcome
    ) -> tuple[Fault, str] | None:
        """Publish one message, if there is a queue for it; return why RabbitMQ does not have it."""
        addressed = self._message(publish, answers.delivery.message, request, outcome, reason)
        if addressed is None:
            return None
        message, queue = addressed
        try:
            why = await answers.publish(message, queue, may_give_up=publish is Publish.ERROR_RECORD)
        except MessageTooLargeError as error:
            return Fault.TOO_LARGE, str(error)
        if why is None:
            return None
        return (reply_fault(queue) if publish is Publish.REPLY else Fault.REFUSED), why

    def _message(
        self, publish: Publish, came: Message, request: Request, outcome: Outcome, reason: Outcome
    ) -> tuple[Message, str] | None:
        """Make the message and name its queue."""
        match publish:
            case Publish.REPLY if request.reply_to:
                return reply(request, outcome), request.reply_to
            case Publish.RETRY_COPY:
                return retry_copy(came, request, outcome), self.topology.retry(request.attempt)
            case Publish.ERROR_RECORD if isinstance(reason, Unsuccessful):
                return error_record(request, reason, consumer=self.consumer), self.topology.errors
        return None


async def _settle(delivery: Settleable, settlement: Settlement) -> None:
    match settlement:
        case Settlement.ACK | Settlement.RETRY:
            await delivery.ack()
        case Settlement.DEAD_LETTER:
            await delivery.dead_letter()
        case Settlement.REQUEUE:
            await delivery.requeue()


def _with_fault(outcome: Outcome, fault: str) -> Outcome:
    """A job that had a result is dead-lettered for its reply alone; one that had none keeps its own reason."""
    return outcome if isinstance(outcome, Unsuccessful) else Unroutable(message=fault, run_s=outcome.run_s)
