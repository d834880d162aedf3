"""Sends metrics to statsd over UDP; never raises and never waits.

Names are `<prefix>.<host>.<name>`: statsd's users can sum counters over hosts, and a gauge belongs to one host.
While jobs run, the sender collects lines for a moment and sends many per datagram, because a system call costs
more than all lines of a job.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Mapping

from statsd import StatsClient

from consumer.config.settings import Settings

log = logging.getLogger(__name__)

#: How long a line may wait for others. statsd itself aggregates over seconds (10 by default).
COLLECT_S = 0.1
#: Fits into one Ethernet packet of the usual 1500 bytes, even inside a tunnel.
MAX_DATAGRAM_BYTES = 1400


class StatsdSender:
    """Collects and sends lines. Mutable state: `_lines`, not yet sent; `_sending`, the timer that sends them."""

    def __init__(self, client: StatsClient) -> None:
        self._lines = client.pipeline()
        self._sending: asyncio.TimerHandle | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> StatsdSender | None:
        """Resolve statsd's address once; None if none is set or it is unknown: the service runs without statsd."""
        if settings.statsd_host is None:
            return None
        prefix = f"{settings.prefix}.{re.sub('[^A-Za-z0-9_-]', '_', socket.gethostname())}"
        try:
            client = StatsClient(settings.statsd_host, settings.statsd_port, prefix, MAX_DATAGRAM_BYTES)
        except (OSError, UnicodeError) as error:  # UnicodeError: the text is not a host name
            log.error(
                "no metrics: statsd_host %r cannot be resolved: %s",
                settings.statsd_host,
                error,
                extra={"event": "statsd_unresolved"},
            )
            return None
        client._sock.setblocking(False)  # noqa: SLF001 - no public way; a full socket buffer must not block the loop
        return cls(client)

    def add(
        self,
        counts: Mapping[str, int],
        seconds: Mapping[str, float],
        gauges: Mapping[str, float],
        *,
        at_once: bool,
    ) -> None:
        """Add a line for each value; send all lines now if `at_once`, else after `COLLECT_S`."""
        for name, amount in counts.items():
            self._lines.incr(name, amount)
        for name, value in seconds.items():
            self._lines.timing(name, value * 1000)
        for name, value in gauges.items():
            self._lines.gauge(name, value)
        if at_once:
            self._send()
        elif self._sending is None:
            self._sending = asyncio.get_running_loop().call_later(COLLECT_S, self._send)

    def _send(self) -> None:
        if self._sending:
            self._sending.cancel()
            self._sending = None
        self._lines.send()
