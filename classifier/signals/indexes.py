"""Refuses tables in which a column of line numbers, times or ids would be read as samples.

A model would learn such a column, and its evaluation would look perfect. Some columns are recognised by their
names, others by their numbers: they rise, count, restart with each group, or are whole while samples are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from classifier.signals.tables import Record, is_spelled_whole, number
from classifier.signals.text_file import FormatError

_INDEXES: Final = frozenset(
    {"", "id", "ids", "idx", "index", "row", "rows", "rowid", "row number", "row_number", "rownames", "nr", "nr."}
    | {"no", "no.", "#", "level_0", "uuid", "guid", "key", "time", "timestamp", "datetime", "date"}
)
#: Names of columns that describe signals. In a header such as `label,recording`, "recording" may mean all samples.
_NOTES: Final = frozenset(
    {"subject", "patient", "person", "trial", "run", "session", "fold", "split", "batch", "group", "record"}
    | {"recording", "experiment", "sequence", "seq", "number", "num", "operator", "sensor"}
)
# Three lines are in rising order by chance once in six times, but a rising first column is an index far more often
_RISING_FIRST: Final = 3
_RISING_LATER: Final = 5
_COUNTED: Final = 5
_DIFFERENT: Final = 8
#: The columns to check at the beginning, besides the last: an index is before or after the samples, and a check of
#: all columns is slow.
_CHECKED_COLUMNS: Final = 3

DROP: Final = "remove that column (pandas: to_csv(..., index=False))"


def is_index_name(name: str) -> bool:
    """Return whether `name` is a usual name for a column that numbers or dates the lines."""
    name = name.lower()
    return name in _INDEXES or name.startswith("unnamed:") or name.endswith(("_id", "_index", " id", " index"))


def is_note_name(name: str) -> bool:
    """Return whether `name` is a usual name for a column that describes the signals."""
    return name.lower() in _NOTES


def rises_at_once(firsts: Sequence[float | None]) -> bool:
    """Return whether the first column rises from line to line. Such a column is not a label."""
    return _rises(firsts, _RISING_FIRST)


def refuse(records: Sequence[Record], label_at: int | None, *, decimal_comma: bool) -> None:
    """Refuse a table if one of its columns numbers the lines.

    Raises:
        FormatError: a column numbers the lines.
    """
    width = len(records[0].cells)
    if any(len(record.cells) != width for record in records):
        width = min(width, 2)  # signals of unequal length have no last column
    label_at = width - 1 if label_at == -1 else label_at
    columns = [at for at in range(width) if at != label_at]
    rising = 1 if label_at == 0 else 0
    for at in dict.fromkeys([*columns[:_CHECKED_COLUMNS], *columns[-1:]]):
        cells = [record.cells[at] if len(record.cells) > at else "" for record in records]
        values = [number(cell, decimal_comma=decimal_comma) for cell in cells]
        if at == rising and _rises(values, _RISING_LATER if at else _RISING_FIRST):
            raise FormatError("", rising_message(at + 1))
        if words := _numbering(cells, values) or _different(cells, records, at):
            raise FormatError(
                "",
                f"column {at + 1} {words}: {DROP}; if it is part of the signals, write its numbers with a decimal "
                "point, such as 3.0; if it is the label, name it in a header line",
            )


def rising_message(column: int) -> str:
    """Return the message for a rising column, with its remedy."""
    return (
        f"column {column} rises from line to line, as the number of a line or a time does: {DROP}; if it is "
        "part of the signals, put the lines in another order; if it is the label, name it in a header line"
    )


def _rises(column: Sequence[float | None], least: int) -> bool:
    values = [value for value in column if value is not None]
    return least <= len(values) == len(column) and all(low < high for low, high in pairwise(values))


def _numbering(cells: Sequence[str], values: Sequence[float | None]) -> str:
    """Describe how a column of whole numbers counts the lines; return '' if it does not count them."""
    counts = [value for value in values if value is not None]
    if len(counts) < len(cells) or len(counts) < _COUNTED or not all(map(is_spelled_whole, cells)):
        return ""
    steps = {high - low for low, high in pairwise(counts)}
    if len(steps) == 1 and steps != {0}:
        return "counts the lines"
    start = counts[0]
    again = all(high - low == 1 or high == start for low, high in pairwise(counts))
    return "counts lines, and begins again" if again and max(counts) - start >= _COUNTED - 1 else ""


def _different(cells: Sequence[str], records: Sequence[Record], at: int) -> str:
    """Describe a column with a different whole number in each line, if samples are fractions; else return ''."""
    if len(cells) < _DIFFERENT or len(set(cells)) < len(cells) or not all(map(is_spelled_whole, cells)):
        return ""
    others = [cell for record in records[:_DIFFERENT] for place, cell in enumerate(record.cells) if place != at]
    fractions = sum("." in cell or "," in cell for cell in others)
    return "holds another whole number in each line" if 2 * fractions >= len(others) > 0 else ""
