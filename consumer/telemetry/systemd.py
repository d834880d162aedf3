"""Reports readiness, watchdog pings and status to systemd. See sd_notify(3).

Each report is a datagram to the socket in NOTIFY_SOCKET; without that variable nothing is sent. Sending never
waits and never raises. The event loop sends watchdog pings while /live is ok: a blocked loop sends none, and an
outage of RabbitMQ does not stop them. All reports follow from the facts of health.py; this module decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

from consumer.telemetry.health import NOT_LIVE, NOT_READY, Facts, Health, judged
from consumer.wording import counted

log = logging.getLogger(__name__)

#: Seconds between reports; the watchdog may require a shorter pause.
REPORT_S = 5.0
#: While the service loads, connects or stops, each report extends systemd's timeout by this. It is longer than
#: REPORT_S, because a busy machine may send the next report late.
EXTEND_S = 30.0


def address(environment: Mapping[str, str]) -> str | None:
    """Return the socket that systemd listens on: a path, or an abstract name (@name); None if there is none."""
    named = environment.get("NOTIFY_SOCKET", "")
    if named.startswith("@"):
        return "\0" + named[1:]
    return named if named.startswith("/") else None  # other kinds, such as vsock:, are for virtual machines


def watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    """Return the watchdog period of the process `pid`, in seconds; None if systemd does not watch it."""
    usec, watched = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(pid))
    if not (usec.isdecimal() and watched == str(pid) and int(usec)):
        return None
    return int(usec) / 1e6


def status(facts: Facts) -> str:
    """Return the line for `systemctl status`: all complaints, and how many slots are busy."""
    wrong = [*judged(NOT_LIVE, facts).text.splitlines(), *judged(NOT_READY, facts).text.splitlines()]
    state = [line for line in wrong if line != "ok"] or ["taking jobs"]
    busy = [f"{facts.running} running in {counted(facts.slots, 'slot')}"] if facts.is_loaded else []
    return "; ".join((*state, *busy))


class Systemd:
    """Reports changes and watchdog pings to systemd.

    Mutable state: `_is_ready`, `_is_stopping` and `_status`, the values last reported.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        health: Health,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._address = address(environment)
        self._watchdog_s = watchdog_s(environment, os.getpid())
        self._health = health
        self._clock_ns = clock_ns
        self._is_ready = False
        self._is_stopping = False
        self._status = ""

    def report(self) -> None:
        """Report what changed since the last report; send a watchdog ping if the process is alive."""
        facts = self._health.facts()
        lines = [*self._changes(facts)]
        if judged(NOT_LIVE, facts).status is HTTPStatus.OK:
            lines.append("WATCHDOG=1")
            if self._is_stopping or not self._is_ready:
                lines.append(f"EXTEND_TIMEOUT_USEC={EXTEND_S * 1e6:.0f}")
        self._send(lines)

    def _changes(self, facts: Facts) -> Iterator[str]:
        if facts.is_stopping and not self._is_stopping:
            self._is_stopping = True
            yield "STOPPING=1"
        elif not self._is_ready and judged(NOT_READY, facts).status is HTTPStatus.OK:
            self._is_ready = True
            yield "READY=1"
        if (line := status(facts)) != self._status:
            self._status = line
            yield f"STATUS={line}"

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Make `systemctl reload` wait for the block (Type=notify-reload, from systemd 253 on)."""
        self._send(["RELOADING=1", f"MONOTONIC_USEC={self._clock_ns() // 1000}"])
        try:
            yield
        finally:
            self._send(["READY=1"])

    def _send(self, lines: list[str]) -> None:
        """Send a datagram. A full or missing socket is ignored, because it must not disturb the jobs."""
        if not (self._address and lines):
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as to:
                to.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.debug("no report to systemd: %s", error)

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Report every `REPORT_S` seconds or more often during the block."""
        if not self._address:
            yield
            return
        task = asyncio.create_task(self._report_repeatedly(), name="systemd")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _report_repeatedly(self) -> None:
        """Report at least twice in each watchdog period, as sd_watchdog_enabled(3) recommends."""
        pause_s = min(REPORT_S, self._watchdog_s / 2) if self._watchdog_s else REPORT_S
        while True:
            self.report()
            await asyncio.sleep(pause_s)
