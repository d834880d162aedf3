"""Turns the signals that a service receives into events: stop, stop at once, reload. Decides nothing."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


class Signals:
    """Events: the first SIGTERM or SIGINT sets `asked`, the second sets `forced`, and SIGHUP sets `reload`."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.forced = asyncio.Event()
        self.reload = asyncio.Event()

    def receive(self, number: signal.Signals) -> None:
        if self.asked.is_set():
            log.warning("%s again: stopping at once", number.name, extra={"event": "stopping_at_once"})
            self.forced.set()
        else:
            log.info("%s: stopping; once more to stop at once", number.name, extra={"event": "stopping"})
            self.asked.set()

    @classmethod
    @contextmanager
    def installed(cls) -> Iterator[Signals]:
        loop, signals = asyncio.get_running_loop(), cls()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, signals.receive, number)
        loop.add_signal_handler(signal.SIGHUP, signals.reload.set)
        try:
            yield signals
        finally:
            for number in (*numbers, signal.SIGHUP):
                loop.remove_signal_handler(number)
