"""Serves a few pages over HTTP, for probes: GET, HEAD and OPTIONS, one request per connection.

Everything is bounded: the request in size and time, the connections in number. A new connection closes the oldest,
so that idle ones cannot keep probes out. No task, no thread, no wait: a request is answered in the turn of the
event loop that completes it, so a blocked loop does not answer. Knows nothing of health.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import NamedTuple, cast

from consumer.errors import ConfigurationError

#: A probe's request has 200 bytes, that of a Prometheus behind proxies perhaps 2,000.
MAX_REQUEST_BYTES = 8192
#: For receiving the request, and for sending the answer.
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
    """Write the answer to a request as HTTP; for HEAD without the body, as in RFC 9110."""
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

    Mutable state: `_request`, the bytes received; `_is_answered`, after which nothing is read. `others`: all open
    connections, the oldest first.
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
        self._transport.close()  # once it is written; the timer goes on for a peer that does not read


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
    except (OSError, UnicodeError) as error:  # the second for what is no host name at all
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"http_port {port} of http_host {host!r} cannot be listened on: {reason}; choose another"
        ) from None
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for exchange in list(exchanges):
            exchange.abort()
        await server.wait_closed()
