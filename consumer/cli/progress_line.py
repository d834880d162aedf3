"""Shows on a terminal that a command works: a line with a spinner on stderr, gone at the end.

Log records appear above it. In a file or a pipe it writes nothing.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner


@contextmanager
def progress(first: str) -> Iterator[Callable[[str], None]]:
    """Show the line during the block; give the function that changes its text."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _text: None
        return
    spinner = Spinner("dots", first)
    # What is printed meanwhile appears above it, too, if stdout is a terminal. A file gets it as ever.
    is_shared = sys.stdout.isatty()
    with Live(spinner, console=console, transient=True, redirect_stdout=is_shared), log_above():
        yield lambda text: spinner.update(text=text)


@contextmanager
def log_above() -> Iterator[None]:
    """Write log records above what is shown: through the stderr that rich has installed."""
    handlers = [one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler]
    before = [handler.stream for handler in handlers]
    for handler in handlers:
        handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            handler.setStream(stream)
