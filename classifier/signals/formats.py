"""Reads the file formats of signals. Does not check the signals.

`.ts` (UCR/UEA archive, sktime): `#` comments, `@` directives, `@data`, then one signal per line: `v,v,...:label`.
`.csv`, `.tsv`: one signal per line; see tables.py (separators, decimal commas) and layout.py (label, header,
index). Shorter signals may be padded with empty cells or NaN. `.npz`: see arrays.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from classifier.signals.layout import Layout, layout
from classifier.signals.tables import (
    NAMES,
    ONE_CELL_EACH,
    Record,
    Table,
    is_list,
    is_missing,
    looks_like_thousands,
    number,
    parse,
)
from classifier.signals.text_file import FormatError, TextLine, content_of, lines_of, text_of

# The reader does not fill gaps, because the filled samples could decide the label.
_FILL_GAPS: Final = "fill missing samples before, or leave the signal out"
_NO_TIME_STAMPS: Final = "time stamps are not read: resample the signals evenly and leave the stamps out"
_LONGEST_SHOWN: Final = 60

Samples: TypeAlias = NDArray[np.float64]


class SignalRow(NamedTuple):
    """One unchecked signal, its place in the file, and its label; None if the file has no labels."""

    place: str
    label: str | None
    samples: Samples


class Reading(NamedTuple):
    """The rows of a file, and the assumptions that the reader made."""

    rows: list[SignalRow]
    assumed: tuple[str, ...]


def read_ts(path: Path, *, required: bool) -> Reading:
    """Read a univariate `.ts` file. With `required`, a file without labels is refused.

    Raises:
        FormatError: the file violates the format, or has several dimensions or time stamps.
    """
    text, encoding = text_of(content_of(path))
    lines = lines_of(text)
    labelled = True
    for at, line in enumerate(lines):
        if line.text.lower().split()[0] == "@data":
            rows = [_ts_row(row, labelled=labelled) for row in lines[at + 1 :] if not row.text.startswith("#")]
            return Reading(rows, _encoding(encoding))
        labelled = _directive(line, required=required) and labelled
    raise FormatError("", "no @data line: this is not a .ts file, or it was cut")


def read_table(path: Path, *, usual: str, required: bool) -> Reading:
    """Read a `.csv` or `.tsv` file. With `required`, a file without labels is refused.

    `usual`: the usual separator of files with this suffix.

    Raises:
        FormatError: as `parse` and `layout`; or a cell is not a number.
    """
    text, encoding = text_of(content_of(path))
    table = parse(text, usual)
    found = layout(table, usual, required=required)
    if found.names and not found.records:
        raise FormatError("", "a header line, and no signal below it: give one signal in each line")
    rows = [_table_row(record, found, table) for record in found.records]
    return Reading(rows, (*_encoding(encoding), *_assumed(table, found, usual)))


def _directive(line: TextLine, *, required: bool) -> bool:
    """Return whether this line of a `.ts` header allows labels; refuse the line if it cannot be supported."""
    refused = {
        "@univariate false": "only univariate signals are read: choose one dimension",
        "@timestamps true": _NO_TIME_STAMPS,
    }
    needless = {
        "@classlabel false": "the signals have no labels: give each line its label after ':'",
        "@targetlabel true": "a regression file, which has numbers as labels: give each line a class after ':'",
    }
    words = line.text.lstrip("\ufeff").lower().split()
    directive = " ".join(words[:2])
    message = refused.get(directive) or (needless.get(directive) if required else None)
    if message:
        raise FormatError(line.place, message)
    if not words[0].startswith(("#", "@")):
        raise FormatError(line.place, "a signal before @data: the header's last line must be @data")
    return directive != "@classlabel false"


def _ts_row(line: TextLine, *, labelled: bool) -> SignalRow:
    *dimensions, label = line.text.split(":") if labelled else (line.text, "")
    if len(dimensions) != 1:
        message = "one ':' is needed, between samples and label"
        if len(dimensions) > 1:
            message = f"{len(dimensions)} dimensions; only univariate signals are read: choose one dimension"
        raise FormatError(line.place, message)
    if not labelled and ":" in line.text:
        raise FormatError(line.place, "a ':' although the file says that it has no labels: is @classLabel wrong?")
    if "(" in dimensions[0]:
        raise FormatError(line.place, _NO_TIME_STAMPS)
    samples = _numbers(line.place, dimensions[0].split(","), decimal_comma=False)
    return SignalRow(line.place, label.strip() if labelled else None, samples)


def _table_row(record: Record, found: Layout, table: Table) -> SignalRow:
    place, samples = record.place, list(record.cells)
    label = None
    if found.label_at is not None:
        if len(samples) <= found.label_at:
            raise FormatError(
                place, f"{len(samples)} columns, and the label belongs into column {found.label_at + 1}"
            )
        label = samples.pop(found.label_at)
    while samples and not samples[-1]:
        samples.pop()
    return SignalRow(place, label, without_padding(_numbers(place, samples, decimal_comma=table.decimal_comma)))


def _assumed(table: Table, found: Layout, usual: str) -> tuple[str, ...]:
    named = found.names[found.label_at] if found.names and found.label_at is not None else None
    notes = {
        f"separated by {NAMES.get(table.delimiter, repr(table.delimiter))}": table.delimiter != usual,
        "decimal commas": table.decimal_comma,
        f"labels from the column {named!r}": named is not None,
        "labels from the end of each line": found.label_at == -1,
        f"{table.comments} comment line{'s' if table.comments > 1 else ''} skipped": table.comments,
    }
    return tuple(note for note, true in notes.items() if true)


def _encoding(encoding: str) -> tuple[str, ...]:
    return () if encoding == "utf-8" else (encoding.upper(),)


def _numbers(place: str, cells: Sequence[str], *, decimal_comma: bool) -> Samples:
    values = [number(cell, decimal_comma=decimal_comma) for cell in cells]
    if None in values:
        at = values.index(None)
        raise FormatError(
            place, f"sample {at} is {_short(cells[at])}, which is not a number: {_remedy(cells[at])}"
        )
    return np.array(values, dtype=np.float64)


def _short(cell: str) -> str:
    shown = repr(cell.strip())
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."


def _remedy(cell: str) -> str:
    cell = cell.strip()
    if is_missing(cell):
        return _FILL_GAPS
    if is_list(cell):
        return ONE_CELL_EACH
    if looks_like_thousands(cell):
        return "write it without separators between thousands, and with a decimal point"
    return "if this is a label, put it first in its line, or name its column 'label' in a header line"


def without_padding(samples: Samples) -> Samples:
    """Remove the NaN at the end. A NaN in the middle stays, and the check of the signal refuses it."""
    present = np.flatnonzero(~np.isnan(samples))
    return samples[: present[-1] + 1] if present.size else samples[:0]
