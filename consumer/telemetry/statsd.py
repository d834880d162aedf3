"""Sends metrics to statsd over UDP; never raises and never waits.

Names are `<prefix>.<host>.<name>`: counters can be summed over hosts, and each gauge belongs to one host. While
jobs run, lines are collected for a moment and sent many to a datagram: a system call costs more than all lines of
a job.
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

#: How long a line may wait for others. statsd itself sums up over seconds (10 by default).
COLLECT_S = 0.1
#: What fits into one packet of an Ethernet with its usual 1500 bytes, with room for a tunnel.
MAX_DATAGRAM_BYTES = 1400


class StatsdSender:
    """Mutable state: `_lines`, those that are not sent yet; `_sending`, the timer that will send them."""

    def __init__(self, client: StatsClient) -> None:
        self._lines = client.pipeline()
        self._sending: asyncio.TimerHandle | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> StatsdSender | None:
        """Resolve the address, once; None without one. An unknown host costs the metrics, not the service."""
        if settings.statsd_host is None:
            return None
        prefix = f"{settings.prefix}.{re.sub('[^A-Za-z0-9_-]', '_', socket.gethostname())}"
        try:
            client = StatsClient(settings.statsd_host, settings.statsd_port, prefix, MAX_DATAGRAM_BYTES)
        except (OSError, UnicodeError) as error:  # the second for what is no host name at all
            log.error(
                "no metrics: statsd_host %r cannot be resolved: %s",
                settings.statsd_host,
                error,
                extra={"event": "statsd_unresolved"},
            )
            return None
        client._sock.setblocking(False)  # noqa: SLF001 - no public way; a full socket buffer must not stop the loop
        return cls(client)

    def add(
        self,
        counts: Mapping[str, int],
        seconds: Mapping[str, float],
        gauges: Mapping[str, float],
        *,
        at_once: bool,
    ) -> None:
        """Add a line for each value; send all lines now, or a moment later."""
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
