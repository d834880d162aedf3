"""Reads the body of a request, and limits its size, its duration, and the total size of all bodies.

A request that declares too large a body is refused before the body is read; one that sends more than the limit is
refused while it is read. Takes ASGI's `receive`, returns bytes or a reason. The proxy in front must close
connections that send nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from consumer.gateway.problems import Reason

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

#: The time limit for a whole body: a phone sends 4 MiB in half a minute.
BODY_S = 60.0
#: How long to read a refused body: a caller that is cut off while it sends never sees the answer.
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
    receive: Receive, headers: Mapping[str, str], max_bytes: int, budget: BodyBudget, *, within_s: float = BODY_S
) -> AsyncIterator[bytes | Reason | None]:
    """Read a body, and hold it during the block.

    Args:
        receive: ASGI's function.
        headers: the headers of the request.
        max_bytes: the size limit of a body.
        budget: the memory that all bodies share.
        within_s: the time limit for the whole body, in seconds.

    Yields:
        The body, or the reason why there is none; None if the caller has disconnected.
    """
    body = bytearray()
    try:
        if refusal := _refusal(headers, max_bytes):
            await _discard(receive)
            yield refusal
        else:
            yield await _read(receive, body, max_bytes, budget, within_s)
    finally:
        budget.held -= len(body)


async def _read(
    receive: Receive, body: bytearray, max_bytes: int, budget: BodyBudget, within_s: float
) -> bytes | Reason | None:
    """Read a body into `body`, and reserve its size as it grows."""
    refusal = None
    try:
        async with asyncio.timeout(within_s):
            while refusal is None:
                part = await receive()
                if part["type"] == "http.disconnect":
                    return None
                more = part.get("body", b"")
                if len(body) + len(more) > max_bytes:
                    refusal = Reason.TOO_LARGE
                elif not budget.take(len(more), has=len(body)):
                    refusal = Reason.BUSY
                else:
                    body += more
                    if not part.get("more_body"):
                        return bytes(body)
    except TimeoutError:
        return Reason.SLOW_BODY
    if part.get("more_body"):
        await _discard(receive)
    return refusal


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


async def _discard(receive: Receive) -> None:
    """Read the rest of the body without keeping it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_S):
            while (await receive()).get("more_body"):
                pass
