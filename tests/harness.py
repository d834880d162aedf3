"""What tests against a real RabbitMQ share: a producer that is not ours (pika), and `consumer run` as a process.

A consumer logs JSON here, so that a test waits for an event (`consumer.telemetry.log_events`) and not for the
wording of a line; what a test prints or searches is the text that people would read. Waiting is always for
something that happens (an event, a message, an exit), with a bound that only a hang reaches.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import prefork
from support.waiting import PATIENCE_S

from consumer.telemetry.log_events import EVENTS

#: A classifier: leaves a line for each run, says that it runs, waits for the test's go; the job is the answer.
HELD = (
    'echo run >>"${0%/*}/runs"',
    'echo "LOG: begun"',
    'while [ ! -e "${0%/*}/go" ]; do sleep 0.02; done',
    "printf 'OUTPUT: '; cat \"$1\"; echo",
)
BIN = Path(sys.executable).parent
#: Shows a line to whoever runs the tests.
Tell = Callable[[str], None]


@dataclass(frozen=True)
class LogLine:
    """A line of a consumer's log: the text that people read, and the fields of the JSON record that it was."""

    text: str
    fields: Mapping[str, Any]

    @classmethod
    def read(cls, line: str) -> Self:
        """Take a line as it was written; one that is no record (an early complaint) has no fields."""
        try:
            fields = json.loads(line)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            return cls(line, {})
        trace = "".join(f"    {more}\n" for more in fields.get("exception", "").splitlines())
        return cls(f"{fields['time']} {fields['level']:<7} {fields['message']}\n{trace}", fields)

    def tells(self, event: str, text: str, fields: Mapping[str, object]) -> bool:
        """Whether it is of this event, has this text in it and these fields."""
        return {"event": event, **fields}.items() <= self.fields.items() and text in self.text


class ConsumerProcess:
    """`consumer run` with its log, from ready to gone.

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
        """Start it; `through` is a program that starts it in turn.

        `is_forked`: not started, but forked from a process that has imported what it needs (prefork.py).
        """
        arguments = ("--log-level", log_level, command)
        logs_json = {"CONSUMER_LOG_FORMAT": "json", **environment}
        reading, writing = os.pipe()
        self._stderr = open(reading)  # noqa: SIM115, PTH123 - closed by its reader
        self.process: subprocess.Popen[bytes] | prefork.Process
        try:
            if is_forked and not through:
                streams = (0, 1, writing)
                self.process = prefork.Process("consumer", arguments, env=logs_json, cwd=cwd, streams=streams)
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

        `text` is for what the test itself brought about: what its classifier logs, a reason that RabbitMQ gives.
        """
        assert event in EVENTS, f"no such event: {event}"
        what = " ".join((event, *([repr(text)] if text else []), *(f"{key}={fields[key]!r}" for key in fields)))
        return self._read_up_to(lambda line: line.tells(event, text, fields), what)

    def wait_for(self, text: str) -> str:
        """Read the log up to a line with `text`: for tests whose subject is the wording."""
        return self._read_up_to(lambda line: text in line.text, repr(text)).text

    def _read_up_to(self, is_it: Callable[[LogLine], bool], what: str) -> LogLine:
        how = "ended without"
        try:
            while (line := self._lines.get(timeout=PATIENCE_S)) is not None:
                self.lines.append(LogLine.read(line))
                if is_it(self.lines[-1]):
                    return self.lines[-1]
        except queue.Empty:
            how = f"has not logged anything for {PATIENCE_S:g} s, nor"
        raise AssertionError(f"the consumer {how} {what}:\n{''.join(self.log)}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait until it is gone; return its exit code. `log` is complete then."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join()
        while (line := self._lines.get()) is not None:
            self.lines.append(LogLine.read(line))
        return code

    def stop(self) -> int:
        """SIGTERM, and wait."""
        self.signal(signal.SIGTERM)
        return self.end()


@dataclass(frozen=True)
class Probe:
    """Asks a consumer how it is, over HTTP, as a kubelet would."""

    port: int

    @classmethod
    def of(cls, running: ConsumerProcess) -> Self:
        """Find its port in its log, which may have been read up to a later line."""
        told = "http_listening"
        line = next(iter(running.events(told)), None) or running.wait_for_event(told)
        return cls(int(line.text.rpartition(":")[2]))

    def ask(self, page: str, timeout_s: float = PATIENCE_S) -> tuple[int, str]:
        """Return status and text of a page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{page}", timeout=timeout_s) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


def environment(url: str, **settings: object) -> dict[str, str]:
    """Make the environment of a consumer: ours without CONSUMER_*, and these settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONSUMER_")}
    chosen = {f"CONSUMER_{name.upper()}": str(value) for name, value in settings.items()}
    return {**inherited, "CONSUMER_AMQP_URL": url, **chosen}


@contextmanager
def consumer(url: str, **settings: object) -> Iterator[ConsumerProcess]:
    """Run a consumer that is ready for jobs; whatever the test does, it is gone afterwards."""
    with gone_afterwards(ConsumerProcess(environment(url, **settings))) as running:
        running.wait_for_event("ready")
        yield running


@contextmanager
def gone_afterwards(running: ConsumerProcess) -> Iterator[ConsumerProcess]:
    """Whatever the test does, it is gone after the block."""
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.end()


def script(folder: Path, *lines: str, name: str = "classify.sh") -> str:
    """Write a shell classifier; return it as the setting `command`. `$1` is the job's file."""
    path = folder / name
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return json.dumps([str(path)])
