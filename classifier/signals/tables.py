"""Reads delimited text as rows of cells, and determines the separator and the decimal point or comma.

Spreadsheets write semicolons and decimal commas in half of Europe; instruments write tabs, blanks and `#`
comments. This module chooses the separator with the largest share of numeric cells, and decides the meaning of
commas for the whole file. layout.py determines the meaning of columns.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from classifier.signals.text_file import FormatError, TextLine, lines_of

NAMES: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "'|'", " ": "blanks"}
#: Cells in which common programs write a missing value.
MISSING: Final = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-", "<na>"})

#: Beginnings of comment lines: in most programs, in MATLAB, in C, and after Excel has quoted them.
_COMMENTS: Final = ("#", "%", "//", '"#', '"%')
#: The remedy for a list in one cell.
ONE_CELL_EACH: Final = "write each sample into a cell of its own"

_SAMPLED_LINES: Final = 200
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_DECIMAL_POINT: Final = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
_THOUSANDS: Final = re.compile(r"[+-]?\d{1,3}(?:([.,' \u00a0\u2009\u202f\u2019])\d{3})(?:\1\d{3})*(?:[.,]\d+)?")
_THREE_DIGITS: Final = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


class Record(NamedTuple):
    """The cells of one line, stripped, without empty cells at the end."""

    place: str
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Table:
    """The records of a file. `comment`: the cells of a comment line right before the first record."""

    records: list[Record]
    delimiter: str
    decimal_comma: bool
    comments: int
    comment: list[str]


def parse(text: str, usual: str) -> Table:
    """Split text into records. `usual`: the usual separator of files with this suffix; it wins a tie.

    Raises:
        FormatError: a quote is not closed, or numbers are ambiguous.
    """
    lines = lines_of(text)
    named = re.fullmatch(r"sep=(.)", lines[0].text.strip(" \r\n\"'")) if lines else None  # Excel's separator line
    if named:
        lines = lines[1:]
    data = [line for line in lines if not line.text.lstrip().startswith(_COMMENTS)]
    delimiter = named[1] if named else _delimiter_of(data[:_SAMPLED_LINES], usual)
    records = [Record(line.place, _cells(line, delimiter)) for line in data]
    records = [record for record in records if record.cells]  # a line may hold separators alone
    comment: list[str] = []
    if data:
        before = [line for line in lines if line.number < data[0].number]
        words = before[-1].text.lstrip('#%/" \t').split(delimiter) if before else []
        comment = [word.strip().strip("\"'") for word in words]
    return Table(records, delimiter, _decimal_comma(records, delimiter), len(lines) - len(data), comment)


def number(cell: str, *, decimal_comma: bool) -> float | None:
    """Return the number in a cell; None if the cell holds something else."""
    if decimal_comma and _DECIMAL_COMMA.fullmatch(cell):
        cell = cell.replace(",", ".")
    try:
        return float(cell)
    except ValueError:
        return None


def is_spelled_whole(cell: str) -> bool:
    """Return whether a cell is a whole number in digits, without a point or an exponent."""
    return re.fullmatch(r"[+-]?\d+", cell) is not None


def is_missing(cell: str) -> bool:
    """Return whether a cell stands for a missing value."""
    return cell.lower() in MISSING


def is_list(cell: str) -> bool:
    """Return whether a cell holds a list of samples, in the form of pandas."""
    return cell.startswith(("[", "(", "array("))


def looks_like_thousands(cell: str) -> bool:
    """Return whether a cell is a number with separators between its thousands."""
    return _THOUSANDS.fullmatch(cell) is not None


def paired_integers(records: Iterable[Record]) -> bool:
    """Return whether the cells look like numbers cut at their decimal comma: `0,25,0,5` for 0.25 and 0.5.

    Each line must have an even number of cells, all integers, and the second halves must look like decimals:
    leading zeros, never a minus sign, many more digits.
    """
    whole, rest = [], []
    for record in records:
        cells = [cell for cell in record.cells if number(cell, decimal_comma=False) is not None]
        if len(cells) % 2:
            cells = cells[1:]  # a label that is a number
        if not cells or not all(map(is_spelled_whole, cells)):
            return False
        whole += cells[::2]
        rest += cells[1::2]
    if len(rest) < 3 or any(cell[0] in "+-" for cell in rest):  # noqa: PLR2004 - fewer prove nothing
        return False
    if any(cell.startswith("-0") for cell in whole) or any(re.fullmatch(r"0\d+", cell) for cell in rest):
        return True
    widths = [sum(len(cell.lstrip("+-")) for cell in cells) / len(cells) for cells in (whole, rest)]
    return len(rest) >= 6 and widths[1] >= widths[0] + 1  # noqa: PLR2004 - as above


def _cells(line: TextLine, delimiter: str) -> list[str]:
    text = line.text.strip().replace("\t", " ") if delimiter == " " else line.text
    try:
        (cells,) = csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True)
    except csv.Error as wrong:
        raise FormatError(line.place, f"this is not a line of a table: {wrong}") from None
    cells = [cell.strip() for cell in cells]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _delimiter_of(lines: Sequence[TextLine], usual: str) -> str:
    others = [delimiter for delimiter in NAMES if delimiter != usual]
    return max([usual, *others], key=lambda delimiter: _score(lines, delimiter))  # `usual` wins a tie


def _score(lines: Sequence[TextLine], delimiter: str) -> float:
    """Return the share of numbers among the cells; a cell that contains another separator counts twice."""
    numbers = cells = 0
    for line in lines:
        try:
            given = [cell for cell in _cells(line, delimiter) if not is_missing(cell)]
        except FormatError:
            continue
        numeric = [_numeric(cell, delimiter) for cell in given]
        numbers += sum(numeric)
        cells += len(given) + sum(
            any(other in cell for other in NAMES if other not in {" ", delimiter})
            for cell, good in zip(given, numeric, strict=True)
            if not good
        )
    return numbers / cells if cells else 0.0


def _numeric(cell: str, delimiter: str) -> bool:
    return number(cell, decimal_comma=delimiter != ",") is not None or looks_like_thousands(cell)


def _decimal_comma(records: Sequence[Record], delimiter: str) -> bool:
    commas = points = certain = 0
    example = ""
    for record in records:
        for cell in record.cells:
            if _DECIMAL_COMMA.fullmatch(cell):
                commas, example = commas + 1, example or f"{record.place}: {cell!r}"
                certain += not _THREE_DIGITS.fullmatch(cell)
            elif _DECIMAL_POINT.fullmatch(cell):
                points += 1
    if not commas:
        return False
    if points:
        raise FormatError("", f"numbers with decimal points and with commas ({example}): write all with points")
    if not certain and delimiter != ";":
        raise FormatError("", f"{example} may be a thousand or a fraction: write numbers with decimal points only")
    return True
