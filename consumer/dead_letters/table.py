"""Prints dead letters as a table: a row per letter, as wide as the terminal.

All of the text is foreign, so `escaped` makes it safe to print.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import compress

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from consumer.dead_letters.model import Entry, show_age
from consumer.escaping import escaped

#: The most rows of the table. The JSON output has all letters.
ROWS = 100
#: Longer ids and messages are cut, with a mark; `show` has all of their text.
CELL_CHARACTERS = 200
#: The widths of the columns of ids and messages; messages get the width that the other columns leave. If this is
#: less than LEAST_MESSAGE, as with UUIDs in 80 columns, each message is below its id.
ID_WIDTH = 40
LEAST_MESSAGE = 20
#: The width if the output is not a terminal.
PIPE_WIDTH = 160


def print_table(entries: Sequence[Entry], now: float) -> None:
    """Print the table in the width of the terminal."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=PIPE_WIDTH)
    console.print(table(entries, now, console.width))


def table(entries: Sequence[Entry], now: float, width: int) -> Table:
    """Make the table. A long id continues on the next line, so that people can copy it; a long message is cut."""
    columns = [
        Column("age", justify="right", no_wrap=True),
        Column("job id", overflow="fold", max_width=ID_WIDTH),
        Column("reason", no_wrap=True),
        Column("code", no_wrap=True),
        Column("message", no_wrap=True, overflow="ellipsis", ratio=1),
        Column("attempt", justify="right"),
        Column("model", overflow="fold"),
        Column("replayed", justify="right"),
    ]
    rows = [_cells(entry, now) for entry in entries]
    filled = [any(cells) for cells in zip(*rows, strict=True)]
    columns, rows = [*compress(columns, filled)], [[*compress(row, filled)] for row in rows]
    place = [column.header for column in columns].index("message")
    cells: list[list[RenderableType]] = [[*map(Text, row)] for row in rows]
    if _room(columns, rows, place, width) < LEAST_MESSAGE:
        cells = [_message_below_id(row, place) for row in rows]
        columns = [*columns[:place], *columns[place + 1 :]]
        columns[1] = Column("job id, message", ratio=1)
    made = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), expand=True)
    for row in cells:
        made.add_row(*row)
    return made


def _room(columns: Sequence[Column], rows: Sequence[Sequence[str]], place: int, width: int) -> int:
    """Return how wide the column at `place` can be if every other one has the width that it needs."""
    widths = [
        max(len(str(column.header)), *map(len, texts)) for column, *texts in zip(columns, *rows, strict=True)
    ]
    widths[1] = min(widths[1], ID_WIDTH)
    return width - sum(needed + 1 for needed in widths[:place] + widths[place + 1 :]) - 1


def _message_below_id(row: Sequence[str], place: int) -> list[RenderableType]:
    cells: list[RenderableType] = [*map(Text, row)]
    message = Text(row[place], no_wrap=True, overflow="ellipsis")
    cells[1] = Group(Text(row[1], overflow="fold"), message)
    return [*cells[:place], *cells[place + 1 :]]


def _cells(entry: Entry, now: float) -> list[str]:
    """Return the cells in the order of the columns. `table` omits a column whose cells are all empty."""
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
