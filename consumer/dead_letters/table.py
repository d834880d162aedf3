"""Shows dead letters as a table: a letter is a line, and the columns share the width of the terminal.

Knows nothing of the origin of letters. Strangers wrote all of the text, so it goes through `escaped`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import compress

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from consumer.dead_letters.model import Entry, show_age
from consumer.escaping import escaped

#: Rows of a table that a person still reads; JSON has all.
ROWS = 100
#: An id or a message that is longer says so; `show` has all of it.
CELL_CHARACTERS = 200
#: Of the columns of ids and of messages; messages get what the others leave.
ID_WIDTH = 40
LEAST_MESSAGE = 12
#: Where no terminal says how wide it is.
PIPE_WIDTH = 160


def print_table(entries: Sequence[Entry], now: float) -> None:
    """Print it in the width of the terminal."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=PIPE_WIDTH)
    console.print(table(entries, now))


def table(entries: Sequence[Entry], now: float) -> Table:
    """Lay it out. An id must be complete for copying, so it continues on the next line; a message may be cut."""
    columns = (
        Column("age", justify="right", no_wrap=True),
        Column("job id", overflow="fold", max_width=ID_WIDTH),
        Column("reason", no_wrap=True),
        Column("code", no_wrap=True),
        Column("message", no_wrap=True, overflow="ellipsis", ratio=1, width=LEAST_MESSAGE),
        Column("attempt", justify="right"),
        Column("model", overflow="fold"),
        Column("replayed", justify="right"),
    )
    rows = [_cells(entry, now) for entry in entries]
    filled = [any(cells) for cells in zip(*rows, strict=True)]
    made = Table(
        *compress(columns, filled), box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), expand=True
    )
    for row in rows:
        made.add_row(*map(Text, compress(row, filled)))
    return made


def _cells(entry: Entry, now: float) -> list[str]:
    """Return the cells in the order of the columns. A column that is empty in all rows is omitted."""
    letter, why = entry.letter, entry.why
    return [
        show_age(None if letter.died_at is None else now - letter.died_at),
        letter.shown_id,
        _cell(letter.reason),
        _cell(why.code if why else None),
        _cell(why.message if why else None),
        str(letter.attempt),
        escaped(letter.model or "", CELL_CHARACTERS),
        str(letter.replayed or ""),
    ]


def _cell(text: str | None) -> str:
    return escaped(text, CELL_CHARACTERS) if text else "-"
