"""The gateway's HTTP/1.1 on a real socket: who speaks something else keeps nothing open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send
from support.async_tests import runs_async

from consumer.errors import ConfigurationError
from consumer.gateway.admission import Admission
from consumer.gateway.server import answering, listening, page_url
from consumer.telemetry.metrics import GATEWAY_NAMES, Metrics


async def hello(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    admission = Admission(hello, Metrics(names=GATEWAY_NAMES), bool)
    with listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        async with answering(admission, listener):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                yield reader, writer
            finally:
                writer.transport.abort()


@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"X: " + b"x" * 70000]
)
@runs_async
async def test_what_is_not_http_is_refused_and_its_connection_closed(said: bytes) -> None:
    async with connected() as (reader, writer):
        writer.write(said)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_an_address_that_is_taken_or_none_is_a_wrong_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match="gateway_port"), listening("127.0.0.1", port):
            pass
    with pytest.raises(ConfigurationError, match="gateway_host"), listening("no host", 0):
        pass


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("0.0.0.0", "http://localhost:80/"),  # noqa: S104 - not listened on here
        ("::", "http://localhost:80/"),
        ("::1", "http://[::1]:80/"),
        ("pumps.example", "http://pumps.example:80/"),
    ],
)
def test_the_address_of_the_page_in_the_log_can_be_opened(host: str, url: str) -> None:
    assert page_url(host, 80) == url
