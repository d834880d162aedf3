"""Executes a disposition: publishes its messages, each with a confirm, and settles the delivery last.

Only this module settles. RabbitMQ confirms a reply before the consumer acks the job. So a crash between the two
causes a second reply with the same job id, and never loses a reply. If a publish fails, `disposition.decide_again`
returns the remaining steps. If the job was delivered before at the same attempt, messages that were confirmed then
are not published again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from consumer.disposition import Disposition, Fault, Publish, Settlement, decide_again, reply_fault
from consumer.job import Outcome, OverOutput, Request, Unroutable, Unsuccessful
from consumer.service.outcome_cache import Identity, OutcomeCache, Sent
from consumer.service.settleable import Settleable
from consumer.service.undeliverable import UndeliverableReplies
from consumer.telemetry.metrics import Metrics
from consumer.values import value
from consumer.wire.message import Message, MessageTooLargeError
from consumer.wire.topology import Topology
from consumer.wire.write import error_record, reply, retry_copy

log = logging.getLogger(__name__)

#: Logged when a publish other than the reply fails; the reply's own fault is a warning with a metric.
_LOST = {
    Publish.RETRY_COPY: "job %s cannot be retried: %s; create it, or start with `declare`",
    Publish.ERROR_RECORD: "job %s leaves no error record: %s",
}


@value(frozen=True, slots=True)
class Answers:
    """Publishes for one delivery, except messages already confirmed for an earlier delivery of the same attempt.

    `identity` is None for an invalid job, whose messages are always published.
    """

    delivery: Settleable
    identity: Identity | None
    outcomes: OutcomeCache

    async def publish(self, message: Message, queue: str, *, may_give_up: bool) -> str | None:
        """Publish; return None after RabbitMQ's confirm, or the reason why the queue did not get the message."""
        sent = Sent(queue, message.correlation_id, message.type)
        if self.identity and self.delivery.redelivered and self.outcomes.has_sent(self.identity, sent):
            return None
        publisher = self.delivery.publisher
        publish = publisher.publish_or_give_up if may_give_up else publisher.publish
        fault = await publish(message, queue)
        if self.identity and fault is None:
            self.outcomes.note_sent(self.identity, sent)
        return fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Settler:
    """Settles deliveries. `consumer` names this process in error records; `undeliverable` logs lost replies."""

    topology: Topology
    metrics: Metrics
    consumer: str
    undeliverable: UndeliverableReplies = field(default_factory=UndeliverableReplies)

    async def settle(
        self, answers: Answers, request: Request, outcome: Outcome, decided: Disposition
    ) -> tuple[Outcome, Settlement]:
        """Publish and settle; return the outcome in the reply, and the settlement.

        Raises:
            ConnectionLostError: the delivery cannot be settled any more.
        """
        reason = outcome  # the outcome in the error record
        is_shortened = False  # the reply says only that the result is too large
        while decided.publishes:
            publish = decided.publishes[0]
            problem = await self._publish(publish, answers, request, outcome, reason)
            if problem is None:
                decided = decided.after(publish)
                continue
            fault, why = problem
            if publish is Publish.REPLY and fault is Fault.TOO_LARGE and is_shortened:
                fault = Fault.REFUSED  # the reply cannot get any shorter
            decided = decide_again(decided, publish, fault)
            if publish is not Publish.REPLY:
                log.error(_LOST[publish], request.id, why, extra={"event": "copy_undeliverable"})
            elif fault is Fault.TOO_LARGE:
                outcome = reason = OverOutput(message=why, run_s=outcome.run_s)
                is_shortened = True
            else:
                self.metrics.count("replies.unroutable")
                self.undeliverable.note(request.id, why)
                reason = _with_fault(outcome, why)
        await _settle(answers.delivery, decided.settlement)
        return outcome, decided.settlement

    async def _publish(
        self, publish: Publish, answers: Answers, request: Request, outcome: Outcome, reason: Outcome
    ) -> tuple[Fault, str] | None:
        """Publish one message, if it has a queue; return the fault if RabbitMQ does not have it."""
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
        self, publish: Publish, received: Message, request: Request, outcome: Outcome, reason: Outcome
    ) -> tuple[Message, str] | None:
        """Make the message, and return it with the name of its queue."""
        match publish:
            case Publish.REPLY if request.reply_to:
                return reply(request, outcome, consumer=self.consumer), request.reply_to
            case Publish.RETRY_COPY:
                return retry_copy(received, request, outcome), self.topology.retry(request.attempt)
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
    """Return the outcome for the error record: a failed job keeps its own, any other is `Unroutable`."""
    return outcome if isinstance(outcome, Unsuccessful) else Unroutable(message=fault, run_s=outcome.run_s)
