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

from consumer.wire.topology import Topology

TIMEOUT_S = 60.0
PREFETCH = 500
AT_ONCE = 50
BODY = b'{"n": 1}'
_SPAWN = multiprocessing.get_context("spawn")


def rate(urls: Sequence[str], topology: Topology, messages: int) -> float:
    """Send so many through all shards, which are there and empty; return messages per second.

    Raises:
        TimeoutError: one of the queues did not get all that was sent to it.
    """
    names = topology.shard_names
    each = messages // len(names)
    barrier = _SPAWN.Barrier(len(names) + 1)
    takers = [
        _SPAWN.Process(target=_take, args=(urls[number % len(urls)], name, each, barrier))
        for number, name in enumerate(names)
    ]
    for taker in takers:
        taker.start()
    connection = Connection(urls[0], TIMEOUT_S)
    try:
        barrier.wait(TIMEOUT_S)
        begun = time.perf_counter()
        _send(connection, names, each)
        for taker in takers:
            taker.join(TIMEOUT_S)
        wall_s = time.perf_counter() - begun
    finally:
        connection.close()
        for taker in takers:
            taker.kill()
    if any(taker.exitcode for taker in takers):
        raise TimeoutError("a queue did not give all that it was sent; the traceback is above")
    return each * len(names) / wall_s


def _send(connection: Connection, names: Sequence[str], each: int) -> None:
    """Send the same number to each queue, by name: a hash would not be so even."""
    properties = Basic.Properties(delivery_mode=2, message_id=ID_PLACEHOLDER)
    some = b"".join(encode(name, BODY, properties) * AT_ONCE for name in names)
    for _ in range(each // AT_ONCE):
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
