"""A consumer's health, asked for over HTTP."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Self

from support.processes.consumer_process import ConsumerProcess
from support.processes.log_lines import LogLine
from support.waiting import PATIENCE_S


@dataclass(frozen=True)
class Probe:
    """Asks a consumer how it is, over HTTP, as a kubelet would."""

    port: int

    @classmethod
    def of(cls, running: ConsumerProcess) -> Self:
        """Find its port in its log, which may have been read up to a later line."""
        told = "http_listening"
        return cls.told_in(next(iter(running.events(told)), None) or running.wait_for_event(told))

    @classmethod
    def told_in(cls, line: LogLine) -> Self:
        """Take the port from the line that tells where it listens."""
        return cls(int(line.text.rpartition(":")[2]))

    def ask(self, page: str, timeout_s: float = PATIENCE_S) -> tuple[int, str]:
        """Return status and text of a page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{page}", timeout=timeout_s) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
