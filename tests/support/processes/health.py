"""Queries a consumer's health over HTTP."""

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
    """Requests a consumer's pages over HTTP, like a kubelet."""

    port: int

    @classmethod
    def of(cls, running: ConsumerProcess) -> Self:
        """Find the port in the consumer's log, which may have been read beyond that line."""
        told = "http_listening"
        return cls.told_in(next(iter(running.events(told)), None) or running.wait_for_event(told))

    @classmethod
    def told_in(cls, line: LogLine) -> Self:
        """Read the port in the log line `http_listening`."""
        return cls(int(line.text.rpartition(":")[2]))

    def ask(self, page: str, timeout_s: float = PATIENCE_S) -> tuple[int, str]:
        """Return status and text of a page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{page}", timeout=timeout_s) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
