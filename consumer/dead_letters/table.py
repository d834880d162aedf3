"""Dead letters as a table that a person reads: a letter is a line, and the columns share what width there is.

Lays out, and knows nothing of where letters come from. All that is shown was written by strangers, and goes
through `escaped`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumer.dead_letters.model import Entry, show_age
from consumer.escaping import escaped

#: Rows of a table that a person still reads; JSON has all.
ROWS = 100
#: An id or a message that is longer says so; `show` has all of it.
CELL_CHARACTERS = 200
#: An id is for copying, so it goes on in the next line; a message is for a glance.
ID_WIDTH = 40
LEAST_MESSAGE = 12
#: Between two columns.
GAP = 2
MESSAGE = "message"
_COLUMNS: dict[str, Literal["left", "right"]] = {
    "age": "right",
    "job id": "left",
    "reason": "left",
    "code": "left",
    MESSAGE: "left",
    "attempt": "right",
    "model": "left",
    "replayed": "right",
}
_ONE_LINE = ("age", "reason", "code", MESSAGE)
#: Where no terminal says how wide it is.
PIPE_WIDTH = 160


def print_table(entries: Sequence[Entry], now: float) -> None:
    """Print it as wide as the terminal is."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=PIPE_WIDTH)
    console.print(table(entries, now, console.width))


def table(entries: Sequence[Entry], now: float, width: int) -> Table:
    """Lay it out so that a row is a line where that can be: messages get what the others leave.

    Where that is too little, a code stands for the reason, which it implies.
    """
    columns = _columns([_cells(entry, now) for entry in entries])
    if _left(columns, width) < LEAST_MESSAGE:
        columns = _columns([_narrow(_cells(entry, now)) for entry in entries])
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in columns:
        made.add_column(name, justify=_COLUMNS[name], overflow="fold", no_wrap=name in _ONE_LINE)
    columns[MESSAGE] = [_cut(text, max(_left(columns, width), LEAST_MESSAGE)) for text in columns[MESSAGE]]
    for row in zip(*columns.values(), strict=True):
        made.add_row(*(Text(cell) for cell in row))
    return made


def _columns(rows: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Turn rows into columns, without those that are empty."""
    columns = {name: list(cells) for name, *cells in zip(_COLUMNS, *rows, strict=True)}
    return {name: cells for name, cells in columns.items() if any(cells)}


def _left(columns: Mapping[str, Sequence[str]], width: int) -> int:
    """Tell how many characters there are for a message."""
    others = (max(map(cell_len, (name, *cells))) for name, cells in columns.items() if name != MESSAGE)
    return width - GAP - sum(min(taken, ID_WIDTH) + GAP for taken in others)


def _cut(text: str, width: int) -> str:
    cell = Text(text)
    cell.truncate(width, overflow="ellipsis")
    return cell.plain


def _narrow(cells: Sequence[str]) -> list[str]:
    age, name, reason, code, *others = cells
    return [age, name, "", f"({reason})" if code == "-" else code, *others]


def _cells(entry: Entry, now: float) -> list[str]:
    """In the order of the columns. What no letter has leaves no column: an empty cell in all rows."""
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
