"""A producer and taker of messages that is not ours: pika, as any other client."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import pika
import pika.exceptions

from support.waiting import PATIENCE_S


@dataclass(frozen=True)
class Received:
    """A message that a test took from a queue."""

    properties: Any
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.body)


class Producer:
    """Publishes jobs and takes replies, as any AMQP client would."""

    def __init__(self, url: str) -> None:
        parameters = pika.URLParameters(url)
        parameters.blocked_connection_timeout = PATIENCE_S  # else pika waits for ever while RabbitMQ has an alarm
        self._connection = pika.BlockingConnection(parameters)
        self.channel = self._connection.channel()
        self.channel.confirm_delivery()
        # One message at a time: several that go back to their queue may go back in another order.
        self._taking = self._connection.channel()
        self._taking.basic_qos(prefetch_count=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(pika.exceptions.AMQPConnectionError):  # a test may have had it closed by RabbitMQ
            self._connection.close()

    def publish(self, queue: str, body: bytes, **properties: Any) -> None:  # noqa: ANN401 - AMQP properties
        """Publish persistent and mandatory: a missing queue raises."""
        chosen = pika.BasicProperties(delivery_mode=2, **properties)
        self.channel.basic_publish("", queue, body, chosen, mandatory=True)

    def reply_queue(self) -> str:
        """Make a queue of our own, named by RabbitMQ."""
        return str(self.channel.queue_declare("", exclusive=True).method.queue)

    def take(self, queue: str) -> Received:
        """Wait for the next message of a queue and ack it."""
        for method, properties, body in self._taking.consume(queue, inactivity_timeout=PATIENCE_S):
            if method is None:
                break
            self._taking.cancel()  # before the ack, which would bring the next one
            self._taking.basic_ack(method.delivery_tag)
            return Received(properties, body)
        raise AssertionError(f"no message in {queue} within {PATIENCE_S:g} s")

    def depth(self, queue: str) -> int:
        """Count the messages that are ready, not those somebody holds unacked."""
        return int(self.channel.queue_declare(queue, passive=True).method.message_count)
