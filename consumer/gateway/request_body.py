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


class BodyBudget:
    """Limits the total size of all bodies in memory. Mutable state: `held`, their size in bytes."""

    def __init__(self, max_bytes: int = MAX_HELD_BYTES) -> None:
        self.held = 0
        self.max_bytes = max_bytes

    def take(self, size: int, *, has: int) -> bool:
        """Reserve `size` more bytes for a body that holds `has` bytes. Return False if they exceed the limit.

        A single body is always accepted.
        """
        if self.held > has and self.held + size > self.max_bytes:
            return False
        self.held += size
        return True


@asynccontextmanager
async def reading(
    request: Request, max_bytes: int, budget: BodyBudget, *, within_s: float = BODY_S
) -> AsyncIterator[bytes | Reason | None]:
    """Read a body of at most `max_bytes` within `within_s` seconds, and hold it during the block.

    Yields:
        The body, or the reason why there is none; None if the caller has disconnected.
    """
    body = bytearray()
    try:
        yield await _read(request, body, max_bytes, budget, within_s)
    finally:
        budget.held -= len(body)


async def _read(
    request: Request, body: bytearray, max_bytes: int, budget: BodyBudget, within_s: float
) -> bytes | Reason | None:
    """Read a body into `body`, and reserve its size as it grows; read the rest of a refused one in vain."""
    refusal = _refusal(request.headers, max_bytes)
    try:
        async with asyncio.timeout(DISCARD_S if refusal else within_s) as limit:
            async for part in request.stream():
                if refusal:
                    continue
                if len(body) + len(part) > max_bytes:
                    refusal = Reason.TOO_LARGE
                elif not budget.take(len(part), has=len(body)):
                    refusal = Reason.BUSY
                else:
                    body += part
                    continue
                limit.reschedule(asyncio.get_running_loop().time() + DISCARD_S)
    except TimeoutError:
        return refusal or Reason.SLOW_BODY
    except ClientDisconnect:
        return None
    return refusal or bytes(body)


def _refusal(headers: Mapping[str, str], max_bytes: int) -> Reason | None:
    """Return why the body is refused by its headers. The required type also excludes HTML forms of other sites."""
    kind, _, parameters = headers.get("content-type", "").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip().strip('"')
    if kind.strip() != JSON_TYPE or charset not in ("", "utf-8", "utf8"):
        return Reason.MEDIA_TYPE
    if headers.get("content-encoding", "identity").lower() != "identity":
        return Reason.MEDIA_TYPE
    declared = headers.get("content-length", "")
    return Reason.TOO_LARGE if declared.isdecimal() and int(declared[:20]) > max_bytes else None
