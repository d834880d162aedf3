"""Serves a few pages over HTTP, for probes: GET, HEAD and OPTIONS, one request per connection.

The server limits the size and duration of a request, and the number of connections. At that number, a new
connection closes the oldest, so that idle ones cannot block probes. The server uses no task or thread and never
waits: it answers in the turn of the event loop that completes the request, so a blocked loop does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import NamedTuple, cast

from consumer.errors import ConfigurationError

#: A probe sends 200 bytes, a Prometheus behind proxies perhaps 2,000.
MAX_REQUEST_BYTES = 8192
#: The time limit for receiving the request and sending the answer.
MAX_EXCHANGE_S = 5.0
MAX_CONNECTIONS = 16
METHODS = "GET, HEAD, OPTIONS"
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")


class Page(NamedTuple):
    """The content of a page."""

    status: HTTPStatus
    text: str
    content_type: str = "text/plain; charset=utf-8"


#: Path -> its current page.
Pages = Mapping[str, Callable[[], Page]]


def answer(request: bytes, pages: Pages) -> Page:
    """Answer a request; only its first line matters."""
    match request.partition(b"\r\n")[0].split(b" "):
        case [b"GET" | b"HEAD", target, version] if version in VERSIONS:
            page = pages.get(target.partition(b"?")[0].decode("latin-1"))
            return page() if page else _refusal(HTTPStatus.NOT_FOUND, f"the pages are {', '.join(pages)}")
        case [b"OPTIONS", _, version] if version in VERSIONS:
            return Page(HTTPStatus.NO_CONTENT, "")
        case [_, _, version] if version in VERSIONS:
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"the methods are {METHODS}")
        case _:
            return _refusal(HTTPStatus.BAD_REQUEST, "not an HTTP/1.1 request")


def _refusal(status: HTTPStatus, why: str) -> Page:
    return Page(status, f"{status.phrase}: {why}\n")


def written(page: Page, request: bytes = b"") -> bytes:
    """Format the answer to a request as HTTP; for HEAD without the body, as RFC 9110 requires."""
    body = page.text.encode()
    is_empty = page.status is HTTPStatus.NO_CONTENT
    head = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}",
        *(() if is_empty else (f"Content-Type: {page.content_type}", f"Content-Length: {len(body)}")),
        "Cache-Control: no-store",
        "Connection: close",
        *((f"Allow: {METHODS}",) if is_empty or page.status is HTTPStatus.METHOD_NOT_ALLOWED else ()),
    )
    return "\r\n".join((*head, "", "")).encode() + (b"" if request.startswith(b"HEAD ") else body)


class _Exchange(asyncio.Protocol):
    """One connection: its request and the answer.

    `others`: all open connections, the oldest first. Mutable state: `_request`, the bytes received;
    `_is_answered`, set with the answer; later bytes are ignored.
    """

    def __init__(self, pages: Pages, others: dict[_Exchange, None], most_s: float) -> None:
        self._pages = pages
        self._others = others
        self._most_s = most_s
        self._request = b""
        self._is_answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(self._most_s, self.abort)
        if len(self._others) >= MAX_CONNECTIONS:
            next(iter(self._others)).abort()
        self._others[self] = None

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._timer.cancel()
        self._others.pop(self, None)

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            return
        self._request += data
        if len(self._request) > MAX_REQUEST_BYTES:
            self._answer(
                _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"at most {MAX_REQUEST_BYTES} bytes")
            )
        elif b"\r\n\r\n" in self._request:
            self._answer(answer(self._request, self._pages))

    def abort(self) -> None:
        """Close the connection now."""
        self._others.pop(self, None)
        self._transport.abort()

    def _answer(self, page: Page) -> None:
        self._is_answered = True
        self._transport.write(written(page, self._request))
        self._transport.close()  # after the write; the timer still aborts a peer that does not read


@asynccontextmanager
async def serving(pages: Pages, host: str, port: int, *, most_s: float = MAX_EXCHANGE_S) -> AsyncIterator[int]:
    """Serve the pages during the block; return the port. No connection lasts longer than `most_s`.

    Raises:
        ConfigurationError: the port cannot be opened.
    """
    exchanges: dict[_Exchange, None] = {}
    try:
        server = await asyncio.get_running_loop().create_server(
            lambda: _Exchange(pages, exchanges, most_s), host, port
        )
    except (OSError, UnicodeError) as error:  # UnicodeError: the text is not a host name
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"cannot listen on http_port {port} of http_host {host!r}: {reason}; choose another"
        ) from None
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for exchange in list(exchanges):
            exchange.abort()
        await server.wait_closed()
