"""Finds the header of a table: the first line, or the comment before it, may name the columns.

Other lines of text, such as an instrument's lines above the header or units below it, are refused: their words
would be read as names or labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from classifier.signals import indexes
from classifier.signals.tables import Record, Table, is_list, is_missing, looks_like_thousands, number
from classifier.signals.text_file import FormatError

LABEL: Final = "label"
_LABELS: Final = frozenset(
    {"labels", "class", "classes", "class_label", "classlabel", "class label", "target", "category"}
)
_COUNTED: Final = 3
_HEADERS_WITHIN: Final = 20
_LEAST_NAMES: Final = 3


def is_label_name(name: str) -> bool:
    """Return whether `name` is a usual name for a column of labels."""
    return name.lower() == LABEL or name.lower() in _LABELS


def header(table: Table) -> tuple[list[str], list[Record]]:
    """Return the names of the columns, if there are any, and the records below them.

    Raises:
        FormatError: there are lines above the header, or a second header below it.
    """
    if not table.records:
        return [], []
    _refuse_headers_below(table.records)
    first, rest = table.records[0].cells, table.records[1:]
    if _is_header(first, rest):
        return first, rest
    _refuse_numbered_header(table)
    known = any(is_label_name(name) or (name and indexes.is_index_name(name)) for name in table.comment)
    if known and len(table.comment) == len(first):
        return table.comment, table.records
    return [], table.records


def _is_header(first: Sequence[str], rest: Sequence[Record]) -> bool:
    if LABEL in [cell.lower() for cell in first]:
        return True
    numbers = [cell for cell in first if is_number(cell)]
    others = [cell for cell in first if not is_number(cell)]
    if numbers:
        known = all(is_label_name(cell) or indexes.is_index_name(cell) for cell in others)
        return bool(others) and known and _counts(numbers)
    if any(cell and (is_missing(cell) or looks_like_thousands(cell) or is_list(cell)) for cell in first):
        return False
    # A single text in a line is a column's name if no other line has a text.
    return len(first) > 1 or not any(cell and not is_number(cell) for record in rest for cell in record.cells[:1])


def _refuse_headers_below(records: Sequence[Record]) -> None:
    """Refuse lines above the header, such as an instrument's; refuse a second header, or the same one again."""
    first = records[0].cells
    for record in records[1:]:
        if record.cells == first and _texts(first) == len(first) > 1:
            message = "the header line again, as in files that were put together: remove it here"
            raise FormatError(record.place, message)
    for above, record in enumerate(records[1:_HEADERS_WITHIN], start=1):
        is_labelled = 1 < len(record.cells) == _texts(record.cells) and LABEL in map(str.lower, record.cells)
        if not is_labelled and (_texts(record.cells) < max(_LEAST_NAMES, len(record.cells) - 1)):
            continue
        if len(first) >= len(record.cells) - 1 and _texts(first) >= _LEAST_NAMES:
            raise FormatError(record.place, "a second header line, such as one of units: remove it")
        if len(first) < len(record.cells):
            lines = "line" if above == 1 else f"{above} lines"
            message = f"this looks like the header: remove the {lines} above it, or begin them with '#'"
            raise FormatError(record.place, message)


def _texts(cells: Sequence[str]) -> int:
    return sum(
        bool(cell) and not is_number(cell) and not is_missing(cell) and not looks_like_thousands(cell)
        for cell in cells
    )


def is_number(cell: str) -> bool:
    """Return whether a cell holds a number, with a decimal point or comma."""
    return number(cell, decimal_comma=True) is not None


def _counts(cells: Sequence[str]) -> bool:
    return any(cells == [str(at) for at in range(start, start + len(cells))] for start in (0, 1))


def _refuse_numbered_header(table: Table) -> None:
    first, *rest = table.records
    fractions = any("." in cell for record in rest for cell in record.cells)
    if len(first.cells) >= _COUNTED and _counts(first.cells) and fractions:
        raise FormatError(
            first.place, "0, 1, 2, ... look like the numbers of columns, not like a signal: remove that line"
        )
