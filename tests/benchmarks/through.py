"""Messages through queues with nobody doing anything about them: what RabbitMQ itself can bear.

As in the service's use: quorum queues, persistent, every message acked. Unlike it: no confirms, acks for many at
once, hundreds unacked; so this is the most that the queues give, not what a consumer gets. One process publishes,
one takes from each queue.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier

from amqp_socket import ID_PLACEHOLDER, Connection, encode
from pamqp.commands import Basic

TIMEOUT_S = 60.0
PREFETCH = 500
AT_ONCE = 50
BODY = b'{"n": 1}'
_SPAWN = multiprocessing.get_context("spawn")


def rate(urls: Sequence[str], queue: str, messages: int) -> float:
    """Send so many through a queue that is there and empty; return messages per second.

    Raises:
        TimeoutError: the queue did not get all that was sent to it.
    """
    barrier = _SPAWN.Barrier(2)
    taker = _SPAWN.Process(target=_take, args=(urls[0], queue, messages, barrier))
    taker.start()
    connection = Connection(urls[0], TIMEOUT_S)
    try:
        barrier.wait(TIMEOUT_S)
        begun = time.perf_counter()
        _send(connection, queue, messages)
        taker.join(TIMEOUT_S)
        wall_s = time.perf_counter() - begun
    finally:
        connection.close()
        taker.kill()
    if taker.exitcode:
        raise TimeoutError("the queue did not give all that it was sent; the traceback is above")
    return messages / wall_s


def _send(connection: Connection, queue: str, messages: int) -> None:
    properties = Basic.Properties(delivery_mode=2, message_id=ID_PLACEHOLDER)
    some = encode(queue, BODY, properties) * AT_ONCE
    for _ in range(messages // AT_ONCE):
        connection.publish(some)


def _take(url: str, queue: str, messages: int, barrier: Barrier) -> None:
    connection = Connection(url, TIMEOUT_S)
    connection.take_from(queue, PREFETCH)
    barrier.wait(TIMEOUT_S)
    came = 0
    while came < messages:
        came += len(connection.receive())
        connection.ack(came)
    connection.close()
