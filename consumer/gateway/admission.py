"""Wraps every request: limits the number in progress, refuses during a stop, counts, adds headers, handles bugs.

It is an ASGI application around another one. While the gateway stops, it refuses new requests and lets running
ones end. Knows nothing about jobs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumer.gateway.problems import Reason, answer
from consumer.telemetry.health import LIVE, METRICS, READY
from consumer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

#: The most requests at once. A waiting request holds 50 KB and a socket; by default a process may have a thousand
#: descriptors.
MAX_INSIDE = 900
#: Probes are always answered.
ALWAYS = (LIVE, READY, METRICS)
#: The browser may load only our own files: nothing from other sites, nothing inline.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
SECURITY = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Admission:
    """Admits requests. Mutable state: `_inside`, the number of running requests; `empty`, set while it is 0."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, is_closing: Callable[[], bool], *, max_inside: int = MAX_INSIDE
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._is_closing = is_closing
        self._max_inside = max_inside
        self._inside = 0
        self.empty = asyncio.Event()
        self.empty.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit a request, or refuse it."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        if scope["path"] in ALWAYS:
            await self._app(scope, receive, _Sending(send, is_last=self._is_closing()))
        elif (is_closing := self._is_closing()) or self._inside >= self._max_inside:
            reason = Reason.STOPPING if is_closing else Reason.BUSY
            sending = _Sending(send, is_last=True)
            await answer(reason)(scope, receive, sending)
            self._metrics.answered(sending.status, 0.0)
        else:
            await self._admit(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        sending = _Sending(send, is_last=False)
        self._count(+1)
        try:
            await self._app(scope, receive, sending)
        except Exception:  # the application has answered, and raises it again
            log.exception("this is a bug in the gateway; please report it", extra={"event": "bug"})
        finally:
            self._count(-1)
            self._metrics.answered(sending.status, time.monotonic() - began)

    def _count(self, change: int) -> None:
        self._inside += change
        self._metrics.gauge("gateway.inside", self._inside)
        if self._inside:
            self.empty.clear()
        else:
            self.empty.set()


class _Sending:
    """Adds the gateway's headers. Mutable state: `status`, 0 until the answer has one."""

    def __init__(self, send: Send, *, is_last: bool) -> None:
        self._send = send
        self._is_last = is_last
        self.status = 0

    async def __call__(self, event: Message) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            # The caller of a refused body may still be sending it; the rest must not be read as a new request.
            is_last = self._is_last or self.status in (
                HTTPStatus.REQUEST_TIMEOUT,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
            closing = [(b"connection", b"close")] if is_last else []
            event = {**event, "headers": [*event.get("headers", ()), *SECURITY, *closing]}
        await self._send(event)
