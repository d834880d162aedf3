"""Reads the body of a request, bounded in size and time, and all bodies together in size.

A body has a time limit, and nothing above a bound is kept. A request that declares too much is refused before it
is read, and one that sends more than it declared is refused while it is read. ASGI's `receive` in, bytes or a
reason out. Connections that send nothing at all are left to the proxy in front.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from consumer.gateway.problems import Reason

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

#: For the whole body: a phone sends 4 MiB in half a minute.
BODY_S = 60.0
#: A body that is refused is read on for so long: who is cut off while it sends never sees the answer.
DISCARD_S = 5.0
#: Sixteen of the largest that the settings allow by default; small ones by the thousand.
MAX_HELD_BYTES = 64 * 1024 * 1024
JSON_TYPE = "application/json"


class Room:
    """The total size of the bodies that are held. Mutable state: `held`, in bytes."""

    def __init__(self, max_bytes: int = MAX_HELD_BYTES) -> None:
        self.held = 0
        self.max_bytes = max_bytes

    def take(self, size: int, *, has: int) -> bool:
        """Reserve more bytes for a body of which `has` bytes are held. A single body fits, whatever its size."""
        if self.held > has and self.held + size > self.max_bytes:
            return False
        self.held += size
        return True


@asynccontextmanager
async def reading(
    receive: Receive, headers: Mapping[str, str], max_bytes: int, room: Room, *, within_s: float = BODY_S
) -> AsyncIterator[bytes | Reason | None]:
    """Read a body, and hold it during the block.

    Args:
        receive: ASGI's.
        headers: of the request.
        max_bytes: the size limit of a body.
        room: the memory that all bodies share.
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
            yield await _read(receive, body, max_bytes, room, within_s)
    finally:
        room.held -= len(body)


async def _read(
    receive: Receive, body: bytearray, max_bytes: int, room: Room, within_s: float
) -> bytes | Reason | None:
    """Read a body into `body`, whose size is reserved as it grows."""
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
                elif not room.take(len(more), has=len(body)):
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
    """Refuse by the headers alone. The check of the type also refuses forms of foreign web pages."""
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
