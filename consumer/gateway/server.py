"""Runs the gateway: listens, answers, drains, stops. One process with one event loop, which also runs uvicorn.

After a signal, the gateway refuses new requests. Running requests may end within `drain_grace_s`. Then the gateway
answers each request that still waits for a reply: the job is pending. A second signal ends the grace period. The
socket listens until the end, so that a load balancer gets a 503 and not a refused connection.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any

import uvicorn

from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.gateway.admission import Admission
from consumer.gateway.amqp_bridge import Relay
from consumer.gateway.app import Served, application
from consumer.gateway.jobs import Jobs
from consumer.gateway.reply_cache import Replies
from consumer.gateway.request_body import Bodies
from consumer.gateway.tokens import Tokens
from consumer.service.consumer_info import consumer_name
from consumer.service.signals import Signals
from consumer.telemetry.health import LIVE, METRICS, READY, Complaints, judged
from consumer.telemetry.http_server import Page, Pages
from consumer.telemetry.metrics import GATEWAY_NAMES, Metrics
from consumer.telemetry.prometheus import CONTENT_TYPE

log = logging.getLogger(__name__)

#: Longer than a load balancer's own timeout (mostly 60 s): the gateway must not close a connection that the
#: balancer is about to use.
KEEP_ALIVE_S = 75
#: How long the last answers may take to be sent.
LAST_ANSWERS_S = 2.0


async def serve(settings: Settings, urls: Sequence[str]) -> None:
    """Answer requests until a signal stops it.

    Raises:
        ConfigurationError: a setting or a file cannot be used.
        BrokerUnreachableError, BrokerRefusedError, ConnectionLostError: at the start.
    """
    tokens = Tokens(settings.gateway_token_file)
    if settings.gateway_token_file is None and settings.gateway_host not in ("127.0.0.1", "::1", "localhost"):
        log.warning(
            "every host that can reach %s may send jobs; set gateway_token_file to require a token",
            settings.gateway_host,
            extra={"event": "gateway_open"},
        )
    with Signals.installed() as signals, listening(settings.gateway_host, settings.gateway_port) as listener:
        metrics = Metrics.from_settings(settings, GATEWAY_NAMES)
        relay = Relay(settings, urls, Replies(), name=f"gateway {consumer_name()}")
        jobs = Jobs(settings, relay, metrics)
        served = Served(jobs, tokens, Bodies(settings.max_body_bytes), _pages(relay, signals, metrics))
        admission = Admission(application(served), metrics, signals.asked.is_set)
        async with _supervised(relay) as supervision, answering(admission, listener) as server:
            stop = asyncio.create_task(signals.asked.wait(), name="stop")
            ends: set[asyncio.Future[Any]] = {stop, supervision, server, relay.broken}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if signals.asked.is_set():
                await _drain(admission, jobs, signals, settings.drain_grace_s)
            for ended in (supervision, server, relay.broken):
                if ended.done():
                    ended.result()  # raises what has ended it
    log.info("stopped", extra={"event": "stopped"})


def _pages(relay: Relay, signals: Signals, metrics: Metrics) -> Pages:
    not_ready: Complaints[Relay] = {
        "no connection to RabbitMQ": lambda relay: not relay.is_connected,
        "earlier replies are being read": lambda relay: relay.is_connected and not relay.caught_up.is_set(),
        "stopping": lambda _relay: signals.asked.is_set(),
    }

    def numbers() -> Page:
        metrics.gauge("gateway.kept", len(relay.replies))
        return Page(HTTPStatus.OK, metrics.registry.text(), CONTENT_TYPE)

    return {
        LIVE: lambda: Page(HTTPStatus.OK, "ok\n"),
        READY: lambda: judged(not_ready, relay),
        METRICS: numbers,
    }


async def _drain(admission: Admission, jobs: Jobs, signals: Signals, grace_s: float) -> None:
    empty = asyncio.create_task(admission.empty.wait(), name="empty")
    forced = asyncio.create_task(signals.forced.wait(), name="forced")
    await asyncio.wait({empty, forced}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
    jobs.hurry.set_result(None)
    if not forced.done():
        await asyncio.wait({empty}, timeout=LAST_ANSWERS_S)
    for task in (empty, forced):
        task.cancel()


@asynccontextmanager
async def _supervised(relay: Relay) -> AsyncIterator[asyncio.Task[None]]:
    supervision = asyncio.create_task(relay.run(), name="supervision")
    try:
        yield supervision
    finally:
        supervision.cancel()
        await asyncio.wait({supervision})


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Listen on the port during the block; called before any other step, because an address may be in use."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, UnicodeError) as error:  # UnicodeError: the text is not a host name
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"cannot listen on gateway_port {port} of gateway_host {host!r}: {reason}; choose another"
        ) from None
    with listener:
        yield listener


def page_url(host: str, port: int) -> str:
    """Return the address that a browser on this machine opens; `host` may stand for all addresses."""
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104 - nothing is bound here
    return f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"


@asynccontextmanager
async def answering(admission: Admission, listener: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
    """Run uvicorn during the block."""
    config = uvicorn.Config(
        admission,
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
    )
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # our own records cover the rest
    server = uvicorn.Server(config)
    # `serve` would install signal handlers.
    serving = asyncio.create_task(server._serve([listener]), name="uvicorn")  # noqa: SLF001
    host, port = listener.getsockname()[:2]
    base = page_url(host, port)
    log.info("accepting jobs at %sjobs, with a web page at %s", base, base, extra={"event": "gateway_listening"})
    try:
        yield serving
    finally:
        server.should_exit = True
        await asyncio.wait({serving})
