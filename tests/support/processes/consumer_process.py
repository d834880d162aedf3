"""Runs `consumer run` as a process and reads its log.

The consumer logs JSON here, so that a test waits for an event (`consumer.telemetry.log_events`) and not for the
wording of a line. Every wait is for an event, a message or an exit. Its time limit is so long that only a hang
reaches it.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from consumer.telemetry.log_events import EVENTS
from support.processes import forked
from support.processes.commands import BIN, environment
from support.processes.log_lines import LogLine
from support.waiting import PATIENCE_S


class ConsumerProcess:
    """A process of `consumer run`, and its log.

    Mutable state: `lines`, the log as far as it was read.
    """

    def __init__(  # noqa: PLR0913 - keywords, each with a default
        self,
        environment: Mapping[str, str],
        cwd: Path | None = None,
        *,
        log_level: str = "INFO",
        through: Sequence[str] = (),
        command: str = "run",
        is_forked: bool = True,
    ) -> None:
        """Start the process. `through`: a program, with arguments, that starts the consumer.

        `is_forked`: fork the consumer from a process that has imported its modules (forked.py), instead of a
        start.
        """
        arguments = (command, "--log-level", log_level)
        # Log every job, because tests wait for these lines.
        logs_json = {"CONSUMER_LOG_FORMAT": "json", "CONSUMER_LOG_JOBS": "all", **environment}
        reading, writing = os.pipe()
        self._stderr = open(reading)  # noqa: SIM115, PTH123 - closed by its reader
        self.process: subprocess.Popen[bytes] | forked.Process
        try:
            if is_forked and not through:
                streams = (0, 1, writing)
                self.process = forked.Process("consumer", arguments, env=logs_json, cwd=cwd, streams=streams)
            else:
                argv: list[str | Path] = [*through, BIN / "consumer", *arguments]
                self.process = subprocess.Popen(argv, env=logs_json, cwd=cwd, stderr=writing)
        finally:
            os.close(writing)
        self.lines: list[LogLine] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with self._stderr:
            for line in self._stderr:
                self._lines.put(line)
        self._lines.put(None)

    @property
    def log(self) -> list[str]:
        """The log as text, as far as it was read."""
        return [line.text for line in self.lines]

    def events(self, event: str, text: str = "", **fields: object) -> list[LogLine]:
        """Find the records of an event in the log, as far as it was read."""
        assert event in EVENTS, f"no such event: {event}"
        return [line for line in self.lines if line.tells(event, text, fields)]

    def wait_for_event(self, event: str, text: str = "", **fields: object) -> LogLine:
        """Read the log up to a record of this event with these fields.

        `text`: a part of the line, for words that do not come from the service, such as those of the test's
        classifier or of RabbitMQ.
        """
        assert event in EVENTS, f"no such event: {event}"
        what = " ".join((event, *([repr(text)] if text else []), *(f"{key}={fields[key]!r}" for key in fields)))
        return self._read_up_to(lambda line: line.tells(event, text, fields), what)

    def wait_for(self, text: str) -> str:
        """Read the log up to a line with `text`: for tests of the wording."""
        return self._read_up_to(lambda line: text in line.text, repr(text)).text

    def _read_up_to(self, is_it: Callable[[LogLine], bool], what: str) -> LogLine:
        how = "ended without"
        try:
            while (line := self._lines.get(timeout=PATIENCE_S)) is not None:
                self.lines.append(LogLine.read(line))
                if is_it(self.lines[-1]):
                    return self.lines[-1]
            self._lines.put(None)  # `end` reads it again
        except queue.Empty:
            how = f"has not logged anything for {PATIENCE_S:g} s, nor"
        raise AssertionError(f"the consumer {how} {what}:\n{''.join(self.log)}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for the end of the process, read the rest of the log, and return the exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join()
        while (line := self._lines.get()) is not None:
            self.lines.append(LogLine.read(line))
        return code

    def stop(self) -> int:
        """Send SIGTERM, wait for the end of the process, and return the exit code."""
        self.signal(signal.SIGTERM)
        return self.end()


@contextmanager
def consumer(url: str, **settings: object) -> Iterator[ConsumerProcess]:
    """Run a consumer during the block, from the moment when it is ready for jobs; kill it afterwards."""
    with gone_afterwards(ConsumerProcess(environment(url, **settings))) as running:
        running.wait_for_event("ready")
        yield running


@contextmanager
def gone_afterwards(running: ConsumerProcess) -> Iterator[ConsumerProcess]:
    """Kill the process after the block if it still runs."""
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.end()
