"""Caches the replies that a gateway has read, and wakes the requests that wait for one.

The stream in RabbitMQ is the store; a gateway reads it again after a start. At the limits of number and size, the
cache drops the oldest replies. It keeps the ids of dropped replies for longer, so that the gateway does not report
such a job as pending. Knows no AMQP and no HTTP.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

from consumer.wire.topology import GATEWAY_MAX_BYTES

#: The most replies. Their ids and Python objects take about 100 MB, in addition to the bytes of the replies.
MAX_COUNT = 100_000
#: The most ids of dropped replies. An id alone takes a tenth of the memory.
MAX_DROPPED = 500_000


class Replies:
    """The newest replies.

    Mutable state: `_kept`, the replies by job id, in the order of arrival; `_bytes`, their total size; `_dropped`,
    the ids of dropped replies; `_waiting`, the waiting requests by job id.
    """

    def __init__(
        self,
        *,
        max_count: int = MAX_COUNT,
        max_bytes: int = GATEWAY_MAX_BYTES,
        max_dropped: int = MAX_DROPPED,
    ) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._max_dropped = max_dropped
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._dropped: OrderedDict[str, None] = OrderedDict()
        self._waiting: dict[str, set[asyncio.Future[bytes]]] = {}

    def __repr__(self) -> str:
        return f"<Replies {len(self._kept)} kept, {self._bytes} bytes, {len(self._waiting)} awaited>"

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, job_id: str, body: bytes) -> None:
        """Store a reply and wake the requests that wait for it. A later reply to the same job replaces it."""
        self._bytes += len(body) - len(self._kept.pop(job_id, b""))
        self._kept[job_id] = body
        self._dropped.pop(job_id, None)
        for waiting in self._waiting.pop(job_id, ()):
            if not waiting.done():
                waiting.set_result(body)
        while len(self._kept) > self._max_count or self._bytes > self._max_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        job_id, body = self._kept.popitem(last=False)
        self._bytes -= len(body)
        self._dropped[job_id] = None
        if len(self._dropped) > self._max_dropped:
            self._dropped.popitem(last=False)

    def find(self, job_id: str) -> bytes | None:
        """Return the reply, if it is stored."""
        return self._kept.get(job_id)

    def was_dropped(self, job_id: str) -> bool:
        """Return whether the reply was stored and then dropped."""
        return job_id in self._dropped

    async def wait(self, job_id: str, timeout_s: float, *ends: asyncio.Future[Any]) -> bytes | None:
        """Wait for a reply; None if the timeout or one of `ends` comes first."""
        if (found := self.find(job_id)) is not None or timeout_s <= 0:
            return found
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, set()).add(waiting)
        try:
            everything: set[asyncio.Future[Any]] = {waiting, *ends}
            await asyncio.wait(everything, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._forget(job_id, waiting)
        return waiting.result() if waiting.done() else None

    def _forget(self, job_id: str, waiting: asyncio.Future[bytes]) -> None:
        others = self._waiting.get(job_id, set())
        others.discard(waiting)
        if not others:
            self._waiting.pop(job_id, None)
