"""A terminal while `consumer submit` runs in it: what the command has written, as a screen shows it.

The command runs in a pty, pyte keeps the screen that its bytes make, and Chromium draws that screen.
"""

from __future__ import annotations

import html
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fcntl import ioctl
from itertools import groupby
from pathlib import Path

import pyte
from pyte.screens import Char
from support.browser.chromium import browser
from support.processes.commands import BIN
from support.processes.consumer_process import consumer
from support.waiting import PATIENCE_S

COLUMNS, LINES = 100, 14
#: A classifier that tells how far it is, and now and then fails.
CLASSIFIER = """
import time
from classifier.contract import JobError, progress

STEPS = ("reading", "filtering", "features", "predicting")

def classify(job):
    for number, step in enumerate(STEPS, start=1):
        time.sleep(job["seconds"] / len(STEPS))
        progress(number / len(STEPS), step)
    if job["seconds"] > 1.1:
        raise JobError("the signal is empty")
    return {"label": "fan"}
"""
#: A terminal's usual colours; rich's own are 24 bit, and pyte gives those as six digits.
COLOURS = {
    "default": "#d4d4d4",
    "black": "#000000",
    "red": "#f14c4c",
    "green": "#23d18b",
    "brown": "#e5c07b",
    "blue": "#3b8eea",
    "magenta": "#d670d6",
    "cyan": "#29b8db",
    "white": "#e5e5e5",
    "brightblack": "#666666",
}
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: #1e1e1e; }}
pre {{ margin: 14px 18px; font: 15px/1.35 "DejaVu Sans Mono", "Liberation Mono", monospace; color: #d4d4d4; }}
</style><pre>{lines}</pre>"""


def screen_of(
    argv: Sequence[str | Path], when: Callable[[str], bool], **run: Mapping[str, str] | Path
) -> pyte.Screen:
    """Run a command on a terminal until its screen is as wanted, or it ends; give the screen."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, **run) as process:  # type: ignore[call-overload] # env, cwd
        os.close(theirs)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and not when("\n".join(screen.display)):
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    stream.feed(os.read(ours, 65536))
                except OSError:  # it has ended
                    break
        process.kill()
    os.close(ours)
    return screen


def page(screen: pyte.Screen, command: str) -> str:
    """Write the screen as HTML, below the command that was typed."""
    last = max((row for row in range(LINES) if screen.display[row].strip()), default=-1)
    rows = [_row(screen, row) for row in range(last + 1)]
    prompt = f'<span style="color:#23d18b">$</span> {html.escape(command)}'
    return PAGE.format(lines="\n".join([prompt, *rows]))


def _row(screen: pyte.Screen, row: int) -> str:
    cells = [screen.buffer[row][column] for column in range(len(screen.display[row].rstrip()))]
    return "".join(_span(style, "".join(cell.data for cell in run)) for style, run in groupby(cells, _style))


def _style(cell: Char) -> str:
    colour = COLOURS.get(cell.fg) or f"#{cell.fg}"
    return f"color:{colour}" + (";font-weight:bold" if cell.bold else "")


def _span(style: str, text: str) -> str:
    return f'<span style="{style}">{html.escape(text)}</span>'


def pictures(url: str, folder: Path) -> Iterator[str]:
    """Take them, into the folder; give their names."""
    (folder / "mine.py").write_text(CLASSIFIER)
    seconds = [0.6 + (number * 37 % 60) / 100 for number in range(60)]
    jobs = "".join(f'{{"seconds": {one}}}\n' for one in seconds)
    (folder / "jobs.jsonl").write_text(jobs)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CONSUMER_")}
    environment |= {"CONSUMER_AMQP_URL": url, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    command = "consumer submit jobs.jsonl --out results.jsonl"
    before = Path.cwd()
    os.chdir(folder)  # where the consumer finds the module
    try:
        with consumer(url, classifier="mine:classify", pool_size=4):
            screen = screen_of(
                [BIN / "consumer", *command.split()[1:]], _is_half_done, env=environment, cwd=folder
            )
    finally:
        os.chdir(before)
    file = folder / "submit.html"
    file.write_text(page(screen, command))
    with browser(folder / "profile", 960, 300) as opened:
        opened.get(file.as_uri())
        lines = opened.find_element("tag name", "pre")
        opened.set_window_size(960, lines.size["height"] + 28 + _frame(opened))
        opened.save_screenshot(str(folder / "submit.png"))
    yield "submit"


def _frame(opened: object) -> int:
    """What the window's height has beyond the page's."""
    return int(opened.execute_script("return window.outerHeight - window.innerHeight"))  # type: ignore[attr-defined] # Chrome's


def _is_half_done(display: str) -> bool:
    """Enough done to show a rate, and every slot's bar under way."""
    done = display.partition(" of 60 jobs")[0].rpartition("\n")[2].strip()
    return done.isdigit() and int(done) >= 24 and display.count("%") >= 4 and "failed 0" not in display
