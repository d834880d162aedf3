"""docs/walk.md, done as a newcomer does it: every file saved, every command typed, what is printed compared.

Two terminals (shells) that live as long as the walk. What must be exact, as `assert_shows` is not, is asserted at
the end.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.docs_pages.pages import Block, blocks
from support.docs_pages.shown_output import assert_shows
from support.processes.commands import BIN, environment
from support.waiting import PATIENCE_S

from consumer.local_broker import node as local_broker
from consumer.local_broker.files import DEFAULT_DIR

PAGE = "docs/walk.md"
FILES = {"python", "javascript"}
#: npm's folder is shared by all who run tests, and what it says beside its work is not for them.
NPM = {"npm_config_audit": "false", "npm_config_update_notifier": "false", "npm_config_fetch_retries": "1"}
#: By their ids: what `make demo` would do has been done; and what is typed in the second terminal.
DONE, SECOND_TERMINAL, RESTART = "demo", "second-terminal", "restart-service"


class Terminal:
    """A shell that is told one block after the other, and what it says."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["sh"],
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                self._lines.put(line)
        self._lines.put(None)

    def type(self, commands: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(commands)
        self.process.stdin.flush()

    def says(self, until: str) -> str:
        """Read up to the line with `until`, and return what came before and with it."""
        said = []
        while (line := self._lines.get(timeout=PATIENCE_S)) is not None:
            said.append(line)
            if until in line:
                return "".join(said)
        raise AssertionError(f"the shell ended without {until!r}:\n{''.join(said)}")

    def run(self, commands: str) -> str:
        """Run commands that end; nothing of what they print is left for the next."""
        self.type(f"{{ {commands}\n}} </dev/null; echo; echo '-- done --'\n")
        return self.says("-- done --").removesuffix("\n-- done --\n")

    def interrupt(self) -> None:
        """Ctrl-C: to all that runs in the terminal, but for the shell, as an interactive one lives on."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGINT)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.interrupt()
        self.process.stdin.close()
        self.process.wait(PATIENCE_S)
        self._reader.join()


@contextmanager
def terminal(folder: Path, variables: dict[str, str]) -> Iterator[Terminal]:
    opened = Terminal(folder, variables)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder in which the virtual environment is, as `make demo` leaves it."""
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / ".venv").symlink_to(BIN.parent)
    return tmp_path / "clone"


def steps() -> Iterator[tuple[Block, str]]:
    """Each block of commands or file, with what the page says that it prints."""
    taken = list(blocks(PAGE))
    assert {DONE, SECOND_TERMINAL, RESTART} <= {step.id for step in taken}
    for place, step in enumerate(taken):
        following = taken[place + 1] if place + 1 < len(taken) else None
        shown = following.text if following and following.language == "text" else ""
        if step.language != "text" and step.id != DONE:
            yield step, shown


def walked(step: Block, first: Terminal, second: Terminal, folder: Path) -> str:
    """Do what a block is for; return what is seen then."""
    if step.language in FILES:
        name = step.text.split(maxsplit=2)[1]  # its first line is a comment with its name
        (folder / name).write_text(step.text)
        return ""
    if step.id in (SECOND_TERMINAL, RESTART):
        if step.id == RESTART:
            second.interrupt()
            second.says("stopped")
        second.type(step.text)
        return second.says("ready:")
    return first.run(step.text)


@pytest.mark.usefixtures("server")
def test_the_walk_goes_as_the_page_says(clone: Path, tmp_path: Path) -> None:
    variables = environment("") | NPM | {"npm_config_cache": str(tmp_path / "npm"), "COLUMNS": "110"}
    del variables["CONSUMER_AMQP_URL"]
    told = ""
    with terminal(clone, variables) as first, terminal(clone, variables) as second:
        try:
            for step, shown in steps():
                said = walked(step, first, second, clone / "walk")
                if "npm error" in said:
                    (pytest.fail if os.environ.get("CI") else pytest.skip)(said)
                assert_shows(said, shown)
                told += said
        finally:
            second.interrupt()
            local_broker.down(
                clone / "walk" / DEFAULT_DIR, timeout_s=0
            )  # which the page has done if all went well
    assert "{ succeeded: 500, failed: 0, right: " in told
    assert "{ succeeded: 490, failed: 10, right: " in told
    assert "replayed 10 dead letters" in told
    assert len(re.findall(r"^broken\.csv:\d+ succeeded \{", told, re.MULTILINE)) == 10
