"""The storm's producer: bursts of jobs, each published until RabbitMQ confirms it, whatever is in between.

Only what was confirmed is judged; a job whose confirm was lost is published again under the same id, and what
comes of that twice is the producer's doing.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

import pika.exceptions
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S

from storm.jobs import Sent, make

#: Jobs come in bursts, so that some wait for a slot.
BURST = 50
#: A fault may stop the consumers for a while, and what waits then has to be worked off at the end.
MOST_WAITING = 400
AGAIN_S = 0.2
#: The ways in which RabbitMQ, when struck, fails to confirm. Not all of pika's errors: others are bugs.
LOST = (
    pika.exceptions.AMQPConnectionError,
    pika.exceptions.AMQPChannelError,
    pika.exceptions.NackError,
    pika.exceptions.UnroutableError,
    OSError,
)


class Supply:
    """Publishes for as long as the block lasts. Mutable state, of its thread: `sent`; `bug`, what ended it."""

    def __init__(self, url: str, queue: str, *, seed: int, jobs_per_s: float) -> None:
        self.sent: list[Sent] = []
        self.bug: BaseException | None = None
        self._url = url
        self._queue = queue
        self._chance = random.Random(seed)  # noqa: S311 - a storm that can be repeated
        self._pause_s = 1 / jobs_per_s
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supply")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the job that is being published."""
        self._is_stopping.set()
        self._thread.join()
        if self.bug:
            raise self.bug

    def _run(self) -> None:
        producer: Producer | None = None
        try:
            while not self._is_stopping.wait(0 if len(self.sent) % BURST else BURST * self._pause_s):
                job = make(len(self.sent), self._chance)
                while not (producer := self._published(producer, job)):
                    self._is_stopping.wait(AGAIN_S)
                self.sent.append(job)
                self._wait_for_room(producer)
        except BaseException as error:  # noqa: BLE001 - raised at the end, in the test's own thread
            self.bug = error
        finally:
            if producer:
                _close(producer)

    def _published(self, producer: Producer | None, job: Sent) -> Producer | None:
        """Publish once, connecting if need be; return the connection if RabbitMQ has confirmed."""
        properties = {"reply_to": job.kind.reply_to, "correlation_id": f"for {job.id}", **job.kind.properties}
        try:
            producer = producer or Producer(self._url)
            job.publishes += 1
            producer.publish(self._queue, job.body, message_id=job.id, **properties)
        except LOST:
            if producer:
                _close(producer)
            return None
        return producer

    def _wait_for_room(self, producer: Producer) -> None:
        if len(self.sent) % 50:
            return
        with suppress(*LOST):  # the next publish finds that out, too
            while producer.depth(self._queue) > MOST_WAITING and not self._is_stopping.wait(AGAIN_S):
                pass


def _close(producer: Producer) -> None:
    with suppress(*LOST):
        producer.__exit__()


def drain(url: str, queue: str) -> Iterator[tuple[Any, bytes]]:
    """Take all messages of a queue, properties and body, until there are none."""
    with Producer(url) as producer:
        producer.channel.basic_qos(prefetch_count=1000)
        left = producer.depth(queue)
        consumed = producer.channel.consume(queue, inactivity_timeout=PATIENCE_S)
        while left and (found := next(consumed)):
            method, properties, body = found
            assert method is not None, f"{queue} holds {left} messages that nobody gets"
            producer.channel.basic_ack(method.delivery_tag)
            yield properties, body
            left -= 1
        producer.channel.cancel()
