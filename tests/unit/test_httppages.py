"""The HTTP that probes speak: what is answered, and that nobody who misbehaves keeps a probe out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

import pytest
from support.async_tests import runs_async

from consumer.errors import ConfigurationError
from consumer.telemetry.http_server import (
    MAX_CONNECTIONS,
    MAX_EXCHANGE_S,
    MAX_REQUEST_BYTES,
    Page,
    answer,
    serving,
)

PAGES = {
    "/yes": lambda: Page(HTTPStatus.OK, "ok\n"),
    "/no": lambda: Page(HTTPStatus.SERVICE_UNAVAILABLE, "größer\n"),
}


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /yes HTTP/1.1", 200),
        (b"GET /yes HTTP/1.0", 200),
        (b"GET /yes?verbose HTTP/1.1", 200),
        (b"GET /no HTTP/1.1", 503),
        (b"GET /yes/ HTTP/1.1", 404),
        (b"GET /../yes HTTP/1.1", 404),
        (b"GET \xff HTTP/1.1", 404),
        (b"GET http://host/yes HTTP/1.1", 404),
        (b"POST /yes HTTP/1.1", 405),
        (b"HEAD /yes HTTP/1.1", 200),
        (b"HEAD /no HTTP/1.1", 503),
        (b"HEAD /none HTTP/1.1", 404),
        (b"head /yes HTTP/1.1", 405),
        (b"OPTIONS /yes HTTP/1.1", 204),
        (b"OPTIONS * HTTP/1.1", 204),
        (b"GET /yes HTTP/2.0", 400),
        (b"GET /yes", 400),
        (b"GET  /yes HTTP/1.1", 400),
        (b"\x16\x03\x01\x02", 400),
        (b"", 400),
    ],
)
def test_the_first_line_decides(line: bytes, status: int) -> None:
    assert answer(line + b"\r\nHost: x\r\n\r\n", PAGES).status == status


@dataclass
class Peer:
    """Connects, as probes and others do."""

    port: int

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with suppress(ConnectionResetError):
                await writer.wait_closed()

    async def ask(self, request: bytes) -> bytes:
        async with self.connected() as (reader, writer):
            writer.write(request)
            return await reader.read()


@asynccontextmanager
async def served(most_s: float = MAX_EXCHANGE_S) -> AsyncIterator[Peer]:
    async with serving(PAGES, "127.0.0.1", 0, most_s=most_s) as port:
        yield Peer(port)


REQUEST = b"GET /yes HTTP/1.1\r\nHost: x\r\n\r\n"


@runs_async
async def test_a_page_is_answered_and_the_connection_closed() -> None:
    async with served() as peer:
        head, _, body = (await peer.ask(REQUEST)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 3" in head
    assert b"Connection: close" in head
    assert body == b"ok\n"


@runs_async
async def test_what_is_no_ascii_is_counted_in_bytes() -> None:
    async with served() as peer:
        head, _, body = (await peer.ask(REQUEST.replace(b"yes", b"no"))).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


@runs_async
async def test_a_request_may_come_in_pieces() -> None:
    async with served() as peer, peer.connected() as (reader, writer):
        for byte in REQUEST:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await reader.read()).startswith(b"HTTP/1.1 200")


@runs_async
async def test_a_request_without_end_is_refused() -> None:
    async with served() as peer:
        assert (await peer.ask(b"GET /yes HTTP/1.1\r\n" + b"x" * MAX_REQUEST_BYTES)).startswith(b"HTTP/1.1 431")


@runs_async
async def test_a_second_request_on_a_connection_is_not_answered() -> None:
    async with served() as peer:
        assert (await peer.ask(REQUEST + REQUEST)).count(b"HTTP/1.1") == 1


@runs_async
async def test_who_says_nothing_is_cut_off() -> None:
    async with served(most_s=0.01) as peer:
        assert await peer.ask(b"GET /yes") == b""


@runs_async
async def test_who_opens_many_connections_keeps_no_probe_out() -> None:
    async with served() as peer, AsyncExitStack() as silent:
        for _ in range(3 * MAX_CONNECTIONS):
            await silent.enter_async_context(peer.connected())
        assert (await peer.ask(REQUEST)).startswith(b"HTTP/1.1 200")


@runs_async
async def test_nothing_is_left_open_at_the_end() -> None:
    async with AsyncExitStack() as clients:
        async with served() as peer:
            reader, writer = await clients.enter_async_context(peer.connected())
            writer.write(b"GET ")
            assert (await peer.ask(REQUEST)).startswith(b"HTTP/1.1 200")  # the other one has arrived as well
        assert await reader.read() == b""
    with pytest.raises(ConnectionRefusedError):
        await peer.ask(REQUEST)


@runs_async
async def test_a_port_that_is_taken_is_told_with_its_name() -> None:
    async with served() as peer:
        with pytest.raises(ConfigurationError, match=f"http_port {peer.port} of http_host '127.0.0.1'"):
            await serving(PAGES, "127.0.0.1", peer.port).__aenter__()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64 + ".invalid"])
@runs_async
async def test_an_address_that_is_none_is_told_with_its_name(host: str) -> None:
    with pytest.raises(ConfigurationError, match="http_host"):
        await serving(PAGES, host, 0).__aenter__()


@pytest.mark.parametrize("path", ["/yes", "/no", "/none"])
@runs_async
async def test_a_head_request_gets_the_headers_of_a_get_and_no_body(path: str) -> None:
    async with served() as peer:
        got = await peer.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        headed = await peer.ask(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, end, body = got.partition(b"\r\n\r\n")
    assert body
    assert headed == head + end
    assert f"Content-Length: {len(body)}".encode() in headed


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", b"204"), ("POST", b"405"), ("DELETE", b"405")])
@runs_async
async def test_other_methods_are_told_which_there_are(method: str, status: bytes) -> None:
    async with served() as peer:
        said = await peer.ask(f"{method} /yes HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert said.startswith(b"HTTP/1.1 " + status)
    assert b"\r\nAllow: GET, HEAD, OPTIONS\r\n" in said
