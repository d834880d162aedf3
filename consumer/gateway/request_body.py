"""Reads the body of a request, and limits its size, its duration, and the total size of all bodies.

A refused body is read on for a while and not kept: a caller that is cut off while it sends never sees the answer.
The proxy in front must close connections that send nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from consumer.gateway.problems import Reason

#: The time limit for a whole body: a phone sends 4 MiB in half a minute.
BODY_S = 60.0
#: How long to read a refused body.
DISCARD_S = 5.0
#: The most bytes of all bodies: 16 bodies of the default maximum size, or thousands of small ones.
MAX_HELD_BYTES = 64 * 1024 * 1024
JSON_TYPE = "application/json"


class Bodies:
    """Reads bodies of at most `max_bytes`. Mutable state: `held`, the size of all bodies in memory, in bytes."""

    def __init__(self, max_bytes: int, *, max_held_bytes: int = MAX_HELD_BYTES, within_s: float = BODY_S) -> None:
        self.max_bytes = max_bytes
        self.held = 0
        self._max_held_bytes = max_held_bytes
        self._within_s = within_s
        self._discard_s = min(DISCARD_S, within_s)

    @asynccontextmanager
    async def reading(self, request: Request) -> AsyncIterator[bytes | Reason]:
        """Read a body, and hold it during the block; yield the reason if there is none."""
        body = bytearray()
        try:
            yield await self._read(request, body)
        finally:
            self.held -= len(body)

    async def _read(self, request: Request, body: bytearray) -> bytes | Reason:
        refusal = self._refusal(request.headers)
        try:
            async with asyncio.timeout(self._discard_s if refusal else self._within_s) as limit:
                async for part in request.stream():
                    if refusal:
                        continue
                    if len(body) + len(part) > self.max_bytes:
                        refusal = Reason.TOO_LARGE
                    elif self.held > len(body) and self.held + len(part) > self._max_held_bytes:
                        refusal = Reason.BUSY  # a single body is always accepted
                    else:
                        body += part
                        self.held += len(part)
                        continue
                    limit.reschedule(asyncio.get_running_loop().time() + self._discard_s)
        except (TimeoutError, ClientDisconnect):
            return refusal or Reason.SLOW_BODY
        return refusal or bytes(body)

    def _refusal(self, headers: Mapping[str, str]) -> Reason | None:
        """Return why the headers refuse a body. The required type also excludes HTML forms of other sites."""
        kind, _, parameters = headers.get("content-type", "").lower().partition(";")
        charset = parameters.partition("charset=")[2].strip().strip('"')
        if kind.strip() != JSON_TYPE or charset not in ("", "utf-8", "utf8"):
            return Reason.MEDIA_TYPE
        if headers.get("content-encoding", "identity").lower() != "identity":
            return Reason.MEDIA_TYPE
        declared = headers.get("content-length", "")
        return Reason.TOO_LARGE if declared.isdecimal() and int(declared[:20]) > self.max_bytes else None
