"""Consumers under supervision, as systemd would keep them: whatever ends one, it is started again at once.

What each said lies in a log file, what it ended with in `codes`. Nothing here decides whether that was right.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from support.processes.commands import BIN
from support.processes.log_lines import LogLine, records_of
from support.waiting import PATIENCE_S

#: systemd's RestartSec, so that a start that cannot succeed does not eat a core.
RESTART_S = 0.3
#: How long a SIGTERM may take: the drain grace of the storm's consumers, and closing a connection that is silent.
STOP_S = PATIENCE_S + 20.0
#: How long the connection was away, in the one sentence that tells it.
AFTER = re.compile(r" after ([\d.]+) s")


class Unit:
    """One `consumer run`, kept running until `stop`.

    Mutable state, of the thread that keeps it: `process`, `codes`, how each life ended.
    """

    def __init__(
        self, name: str, environment: Mapping[str, str], folder: Path, wrapper: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.codes: list[int] = []
        self._command = [*wrapper, str(BIN / "consumer"), "run"]
        self._environment = {"CONSUMER_LOG_FORMAT": "json", **environment}
        self._is_stopping = threading.Event()
        self.process = self._start()
        self._keeper = threading.Thread(target=self._keep, name=name)
        self._keeper.start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(self._command, env=self._environment, stderr=log, stdin=subprocess.DEVNULL)

    def _keep(self) -> None:
        while True:
            self.codes.append(self.process.wait())
            if self._is_stopping.wait(RESTART_S):
                return
            self.process = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def inside(self, path: Path) -> Path:
        """The same path as the process sees it, whatever is mounted there for it alone."""
        return Path(f"/proc/{self.process.pid}/root", *path.parts[1:])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """End it for good, if that is not done yet; return its exit code."""
        self._is_stopping.set()
        self.process.terminate()
        self._keeper.join(STOP_S)
        if self._keeper.is_alive():
            self.process.kill()
            self._keeper.join()
        return self.codes[-1]

    def descendants(self) -> list[int]:
        """List the processes below it: the fork server, its workers, programs, and what those have started."""
        return below(self.process.pid)

    def events(self, event: str) -> list[LogLine]:
        """The records of an event in its log so far."""
        return records_of(event, self.log.read_text())

    def recoveries(self) -> list[float]:
        """Seconds of each outage of its connections that it has overcome."""
        return [float(AFTER.findall(record.text)[0]) for record in self.events("reconnected")]

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))  # noqa: PTH208 - counted every second

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()


def below(pid: int) -> list[int]:
    """List all descendants of a process that its parents still know."""
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in tasks.read_text().split()]
        except OSError:  # it has just ended
            continue
        for child in children:
            found += [child, *below(child)]
    return found


def marked(text: str) -> list[str]:
    """Name all living processes that carry `text` in their environment or command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            carried = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if text.encode() in carried and int(process.name) != os.getpid():
            found.append(f"{process.name} {(process / 'comm').read_text().strip()}")
    return found
