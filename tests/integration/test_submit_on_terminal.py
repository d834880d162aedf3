"""`consumer submit` on a terminal: what its screen shows when keys are pressed or its output goes to a pipe."""

from __future__ import annotations

import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from fcntl import ioctl
from pathlib import Path

import pyte
from support.processes.commands import BIN, environment
from support.processes.consumer_process import consumer
from support.processes.shell_classifiers import script
from support.waiting import PATIENCE_S

COLUMNS, LINES = 80, 24
CTRL_C = b"\x03"
#: The first job is answered at once, the others when the test says so.
HOLD = 'case "$(cat "$1")" in *0?) ;; *) while [ ! -e "${0%/*}/go" ]; do sleep 0.02; done ;; esac'


class Terminal:
    """A command on a terminal of its own. Mutable state: `screen`, what it shows so far."""

    def __init__(self, command: str, folder: Path, variables: Mapping[str, str]) -> None:
        self.screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        # A session of its own with this terminal, so that Ctrl-C reaches the command.
        started = ("setsid", "--ctty", "--wait", "sh", "-c", command)
        self.process = subprocess.Popen(
            started, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=variables
        )
        os.close(theirs)

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def wait_for(self, text: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while not any(text in line for line in self.lines):
            assert time.monotonic() < until, self.lines
            assert self._read(), self.lines

    def end(self) -> list[str]:
        while self._read():
            pass
        self.process.wait(PATIENCE_S)
        os.close(self._ours)
        return self.lines

    def _read(self) -> bool:
        """Take what is written; return False at the end."""
        assert select.select([self._ours], [], [], PATIENCE_S)[0]
        try:
            written = os.read(self._ours, 65536)
        except OSError:  # nobody has it open any more
            return False
        self._stream.feed(written)
        return bool(written)


def on_terminal(vhost_url: str, folder: Path, command: str) -> Terminal:
    variables = {**environment(vhost_url), "TERM": "xterm-256color", "PATH": f"{BIN}:{os.environ['PATH']}"}
    variables.pop("COLUMNS", None)
    return Terminal(command, folder, variables)


def test_ctrl_c_leaves_one_bar_and_lines_that_break_between_words(vhost_url: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(4)))
    with consumer(vhost_url, command=script(tmp_path, HOLD, "echo 'OUTPUT: 1'"), pool_size=1) as running:
        shown = on_terminal(vhost_url, tmp_path, "consumer submit jobs.jsonl --out results.jsonl")
        shown.wait_for("1 of 4 jobs ")
        shown.press(CTRL_C)
        lines = shown.end()
        (tmp_path / "go").touch()
        running.stop()
    assert sum(" jobs/s " in line for line in lines) == 1
    assert "results: results.jsonl" in lines
    start = next(at for at, line in enumerate(lines) if line.startswith("RabbitMQ keeps"))
    assert " ".join(lines[start : start + 2]) == (
        "RabbitMQ keeps the replies for a day, and no queued job runs twice. Continue with"
    )


def test_results_that_go_to_a_pipe_are_not_mixed_with_a_bar(vhost_url: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text('{"n": 0}\n{"n": 0}\n')
    with consumer(vhost_url, command=script(tmp_path, "echo 'OUTPUT: 1'")) as running:
        lines = on_terminal(vhost_url, tmp_path, "consumer submit jobs.jsonl | cut -c 1-10").end()
        running.stop()
    # `cut` may write its lines after those of `submit`: they are two processes.
    assert sorted(lines) == ["2 jobs: 2 succeeded, 0 failed", '{"source":', '{"source":']
