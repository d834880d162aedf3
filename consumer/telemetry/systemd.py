"""What systemd is told: that we are ready, that we still turn, and what we are at. See sd_notify(3).

A datagram to the socket that NOTIFY_SOCKET names; without that variable nothing is sent. Sending never waits and
never raises. The watchdog's ping says what /live says, and comes from the event loop: one that hangs sends none.
An outage of RabbitMQ stops no ping. What is told follows from the facts of health.py; nothing is decided here.
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

#: The status line is at most this old, in seconds; the watchdog may want to hear of us more often.
TELL_S = 5.0
#: While we load, connect or stop, systemd waits as long as it hears of us: longer than TELL_S, for a busy machine.
EXTEND_S = 30.0


def address(environment: Mapping[str, str]) -> str | None:
    """Say where systemd listens: a path, or a name that is no file's (abstract: @name); None: nowhere."""
    named = environment.get("NOTIFY_SOCKET", "")
    if named.startswith("@"):
        return "\0" + named[1:]
    return named if named.startswith("/") else None  # others, as vsock:, are for virtual machines


def watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    """How often systemd wants to hear of the process `pid`, in seconds; None: it does not watch it."""
    usec, watched = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(pid))
    if not (usec.isdecimal() and watched == str(pid) and int(usec)):
        return None
    return int(usec) / 1e6


def status(facts: Facts) -> str:
    """Say in one line what `systemctl status` shows: what is wrong, if anything is, and how busy the slots are."""
    wrong = [*judged(NOT_LIVE, facts).text.splitlines(), *judged(NOT_READY, facts).text.splitlines()]
    said = [line for line in wrong if line != "ok"] or ["taking jobs"]
    busy = [f"{facts.running} running in {facts.slots} slots"] if facts.is_loaded else []
    return "; ".join((*said, *busy))


class Systemd:
    """Tells systemd what has changed, and that we turn.

    Mutable state: `_is_ready` and `_is_stopping`, what it has been told; `_reloads`, when the reload that runs
    began; `_status`, the last line.
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
        """Tell what is so now; at once where it has changed, and else every few seconds."""
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
        """Let `systemctl reload` wait for the block (Type=notify-reload, from systemd 253 on)."""
        self._send(["RELOADING=1", f"MONOTONIC_USEC={self._clock_ns() // 1000}"])
        try:
            yield
        finally:
            self._send(["READY=1"])

    def _send(self, lines: list[str]) -> None:
        """One datagram, or none: a socket that is full or gone is systemd's trouble, not the jobs'."""
        if not (self._address and lines):
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as to:
                to.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.debug("systemd is not told: %s", error)

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Tell for the block, every few seconds; the last word is that of the end."""
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
        """Twice in each watchdog period, as sd_watchdog_enabled(3) asks."""
        pause_s = min(TELL_S, self._watchdog_s / 2) if self._watchdog_s else TELL_S
        while True:
            self.tell()
            await asyncio.sleep(pause_s)
