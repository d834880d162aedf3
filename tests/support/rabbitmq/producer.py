"""A producer that is independent of this project: it publishes jobs and receives messages with pika."""

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
    """A message that a test received from a queue."""

    properties: Any
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.body)


class Producer:
    """Publishes jobs and receives replies, as any AMQP client would."""

    def __init__(self, url: str) -> None:
        parameters = pika.URLParameters(url)
        parameters.blocked_connection_timeout = PATIENCE_S  # else pika waits for ever while RabbitMQ has an alarm
        self._connection = pika.BlockingConnection(parameters)
        self.channel = self._connection.channel()
        self.channel.confirm_delivery()
        # One message at a time, because several requeued messages may return in another order.
        self._taking = self._connection.channel()
        self._taking.basic_qos(prefetch_count=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(pika.exceptions.AMQPConnectionError):  # RabbitMQ may have closed it during the test
            self._connection.close()

    def publish(self, queue: str, body: bytes, **properties: Any) -> None:  # noqa: ANN401 - AMQP properties
        """Publish a persistent, mandatory message; a missing queue raises an exception."""
        chosen = pika.BasicProperties(delivery_mode=2, **properties)
        self.channel.basic_publish("", queue, body, chosen, mandatory=True)

    def reply_queue(self) -> str:
        """Declare an exclusive queue for replies; return its name, which RabbitMQ chooses."""
        return str(self.channel.queue_declare("", exclusive=True).method.queue)

    def take(self, queue: str) -> Received:
        """Wait for the next message of a queue and ack it."""
        for method, properties, body in self._taking.consume(queue, inactivity_timeout=PATIENCE_S):
            if method is None:
                break
            self._taking.cancel()  # before the ack, because RabbitMQ would then deliver the next message
            self._taking.basic_ack(method.delivery_tag)
            return Received(properties, body)
        raise AssertionError(f"no message in {queue} within {PATIENCE_S:g} s")

    def depth(self, queue: str) -> int:
        """Return the number of ready messages; unacked ones do not count."""
        return int(self.channel.queue_declare(queue, passive=True).method.message_count)
