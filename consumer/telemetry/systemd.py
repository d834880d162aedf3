"""Reports readiness, watchdog pings and status to systemd. See sd_notify(3).

Sends datagrams to the socket in NOTIFY_SOCKET; without that variable it sends nothing. Sending never waits and
never raises. The watchdog's ping follows /live and comes from the event loop, so a loop that hangs sends none. An
outage of RabbitMQ stops no ping. The reports follow from the facts of health.py; this module decides nothing.
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

log = logging.getLogger(__name__)

#: The maximum age of the status line, in seconds; the watchdog may require more frequent pings.
TELL_S = 5.0
#: While loading, connecting or stopping, each report extends systemd's wait by this: > TELL_S, for a busy machine.
EXTEND_S = 30.0


def address(environment: Mapping[str, str]) -> str | None:
    """Return the address of systemd's socket: a path, or an abstract name (@name); None if there is none."""
    named = environment.get("NOTIFY_SOCKET", "")
    if named.startswith("@"):
        return "\0" + named[1:]
    return named if named.startswith("/") else None  # others, such as vsock:, are for virtual machines


def watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    """Return the watchdog period for the process `pid`, in seconds; None if systemd does not watch it."""
    usec, watched = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(pid))
    if not (usec.isdecimal() and watched == str(pid) and int(usec)):
        return None
    return int(usec) / 1e6


def status(facts: Facts) -> str:
    """Make the line for `systemctl status`: the complaints, if any, and the number of busy slots."""
    wrong = [*judged(NOT_LIVE, facts).text.splitlines(), *judged(NOT_READY, facts).text.splitlines()]
    said = [line for line in wrong if line != "ok"] or ["taking jobs"]
    busy = [f"{facts.running} running in {facts.slots} slots"] if facts.is_loaded else []
    return "; ".join((*said, *busy))


class Systemd:
    """Reports changes and watchdog pings to systemd.

    Mutable state: `_is_ready` and `_is_stopping`, what was reported; `_reloads`, the start of the running reload;
    `_status`, the last line.
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

    def tell(self) -> None:
        """Report the present state: at once if it has changed, and otherwise every few seconds."""
        facts = self._health.facts()
        lines = [*self._news(facts)]
        if judged(NOT_LIVE, facts).status is HTTPStatus.OK:
            lines.append("WATCHDOG=1")
            if self._is_stopping or not self._is_ready:
                lines.append(f"EXTEND_TIMEOUT_USEC={EXTEND_S * 1e6:.0f}")
        self._send(lines)

    def _news(self, facts: Facts) -> Iterator[str]:
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
        """Send one datagram, or none: a full or missing socket must not affect the jobs."""
        if not (self._address and lines):
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as to:
                to.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.debug("systemd is not told: %s", error)

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Report every few seconds during the block, and once at its end."""
        if not self._address:
            yield
            return
        task = asyncio.create_task(self._tell_again_and_again(), name="systemd")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _tell_again_and_again(self) -> None:
        """Report twice in each watchdog period, as sd_watchdog_enabled(3) recommends."""
        pause_s = min(TELL_S, self._watchdog_s / 2) if self._watchdog_s else TELL_S
        while True:
            self.tell()
            await asyncio.sleep(pause_s)
