"""Determines the columns of a table: samples, the label, or an index that does not belong to a signal.

A header names the label's column. Without a header, the label is the first cell of a line, or the last one if only
that is text. A column that numbers or names the lines is refused, because a model would learn it and its
evaluation would look perfect. A file whose labels and samples cannot be distinguished is refused, too: it needs a
header line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from classifier.signals import headers, indexes
from classifier.signals.headers import LABEL, is_label_name
from classifier.signals.indexes import DROP
from classifier.signals.tables import (
    ONE_CELL_EACH,
    Record,
    Table,
    is_list,
    is_missing,
    looks_like_thousands,
    number,
    paired_integers,
)
from classifier.signals.text_file import FormatError

_LABEL_CODES: Final = re.compile(
    r"(labels?|class|target|category)[ _.-]?(ids?|codes?|idx|index|num|number|no|enc|encoded|int|names?|str|text)"
)
_DISTINCT_SHARE: Final = 0.5
_LEAST_DISTINCT: Final = 5
_LEAST_FRACTIONS: Final = 3
_LEAST_NAMES: Final = 3
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d|\d\d?[./]\d\d?[./]\d{4}|\d\d?:\d\d")

_NAME_LABELS: Final = "give the file a header line, such as 'label,samples'"


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a table. `records`: the lines with signals; `label_at`: the label's column, -1 for the last.

    `label_at` is None if there are no labels. `names`: the names in the header; empty without a header.
    """

    records: list[Record]
    label_at: int | None
    names: list[str]


def layout(table: Table, usual: str, *, required: bool) -> Layout:
    """Determine the columns. With `required`, signals without labels are refused.

    Raises:
        FormatError: a column is an index, labels are required and missing, or the columns are ambiguous.
    """
    names, records = headers.header(table)
    _refuse_column(names, records)
    if names:
        found = _by_name(names, records, table, required=required)
    else:
        found = _by_content(records, table, usual, required=required)
    if found.records:
        indexes.refuse(found.records, found.label_at, decimal_comma=table.decimal_comma)
        if len(found.names) < _LEAST_NAMES and table.delimiter == "," and paired_integers(found.records):
            raise FormatError(
                found.records[0].place,
                "these integers look like numbers with decimal commas, cut in two: write decimal points, or "
                "separate the cells by semicolons; if they are samples, name each column in a header line",
            )
    return found


def _by_name(names: list[str], records: list[Record], table: Table, *, required: bool) -> Layout:
    named = [at for at, name in enumerate(names) if is_label_name(name)]
    codes = [at for at, name in enumerate(names) if _LABEL_CODES.fullmatch(name.lower())]
    # The number of the label would be learned as a sample, and the evaluation would look perfect.
    candidates = [*named, *codes] if named else codes
    ends = {0, len(names) - 1}
    if not candidates and "x" not in [name.lower() for name in names]:  # x and y are co-ordinates
        candidates = [at for at, name in enumerate(names) if name.lower() == "y" and at in ends]
    if len(candidates) > 1:
        called = ", ".join(repr(names[at]) for at in candidates)
        raise FormatError("", f"the header has {len(candidates)} columns of labels, {called}: keep one of them")
    for at, name in enumerate(names):
        if indexes.is_index_name(name) and at not in candidates:
            called = f"is called {name!r}" if name else "has no name"
            raise FormatError("", f"column {at + 1} {called}: an index is not part of a signal, {DROP}")
    label_at = candidates[0] if candidates else None
    _refuse_text_columns(names, records, label_at, table)
    if label_at is None and required and len(set(names)) < len(names):
        raise FormatError("", "the header repeats names: if signals are columns of this file, make them lines")
    if label_at is None and required:
        raise FormatError("", f"no column of the header is called {LABEL!r}: name the label's column so")
    # A header of `label` and one more name allows any number of samples; a longer header names each.
    open_ended = len(names) == 1 or (len(names) == 2 and label_at == 0)  # noqa: PLR2004 - as it says
    width = 0 if open_ended else len(names)
    for at, name in enumerate(names):
        if width and indexes.is_note_name(name) and at != label_at:
            message = f"column {at + 1}, {name!r}, describes the signals and is no sample: remove it"
            raise FormatError("", f"{message}, or call it {LABEL!r} if these are the labels")
    _refuse_long(records, names, width)
    return Layout(records, label_at, names)


def _refuse_text_columns(
    names: Sequence[str], records: Sequence[Record], label_at: int | None, table: Table
) -> None:
    for at, name in enumerate(names):
        cells = [record.cells[at] for record in records if at < len(record.cells)]
        present = [cell for cell in cells if not is_missing(cell) and not looks_like_thousands(cell)]
        text = [cell for cell in present if number(cell, decimal_comma=table.decimal_comma) is None]
        if at != label_at and present and len(text) == len(present):
            if is_list(text[0]):
                raise FormatError("", f"column {at + 1}, {name!r}, holds lists: {ONE_CELL_EACH}")
            what = f"column {at + 1}, {name!r}, holds text such as {text[0]!r}"
            remedy = (
                "remove it" if label_at is not None else f"call it {LABEL!r} if these are the labels, or remove it"
            )
            raise FormatError("", f"{what}, which cannot be a sample: {remedy}")


def _refuse_long(records: Sequence[Record], names: Sequence[str], width: int) -> None:
    for record in records:
        if width and len(record.cells) > width:
            raise FormatError(
                record.place,
                f"{len(record.cells)} cells under a header of {len(names)}: if numbers have decimal commas, write "
                "points instead, or separate the cells by semicolons",
            )


def _by_content(records: list[Record], table: Table, usual: str, *, required: bool) -> Layout:
    if records and all(_DATE.match(record.cells[0]) for record in records):
        raise FormatError("", f"the first column holds times such as {records[0].cells[0]}, no labels: {DROP}")
    firsts = [number(record.cells[0], decimal_comma=table.decimal_comma) for record in records]
    numeric = [first for first in firsts if first is not None]
    lasts = [number(record.cells[-1], decimal_comma=table.decimal_comma) for record in records if record.cells[1:]]
    if records and len(numeric) == len(records):
        if indexes.rises_at_once(firsts):
            raise FormatError("", indexes.rising_message(1))
        missing = any(is_missing(record.cells[-1]) for record in records)
        if lasts and len(lasts) == len(records) and not missing and all(last is None for last in lasts):
            return Layout(records, -1, [])
        if not _numbers_are_labels(records, numeric, usual, required=required):
            return Layout(records, None, [])
    return Layout(records, 0, [])


def _numbers_are_labels(records: list[Record], firsts: list[float], usual: str, *, required: bool) -> bool:
    """Return whether the numbers in the first column are labels and not samples.

    Raises:
        FormatError: the numbers may be either; or labels are required, and these cannot be labels.
    """
    whole = all(first.is_integer() for first in firsts)
    repeated = len(set(firsts)) <= len(firsts) * _DISTINCT_SHARE
    if required:
        distinct = len(set(firsts)) == len(firsts) >= _LEAST_DISTINCT
        if distinct or (not whole and not repeated and len(firsts) >= _LEAST_FRACTIONS):
            message = f"the first column holds numbers such as {records[0].cells[0]}, which are no labels"
            raise FormatError("", f"{message}: put the label first in each line, or {_NAME_LABELS}")
        return True
    if not whole:
        return False
    if usual == "\t" and (
        repeated or len(firsts) < _LEAST_DISTINCT
    ):  # the UCR archive's files, whose label is always first
        return True
    # Labels have no decimal point, and are not all equal; samples may all begin with 0.
    spelled = not any("." in record.cells[0] or "," in record.cells[0] for record in records)
    fractions = any(not _is_whole(cell) for record in records for cell in record.cells[1:])
    if not (spelled and fractions and repeated and len(set(firsts)) > 1):
        message = f"the first column, such as {records[0].cells[0]!r}, may be labels or samples"
        raise FormatError("", f"{message}: {_NAME_LABELS}, or 'samples' where there are no labels")
    return True


def _is_whole(cell: str) -> bool:
    value = number(cell, decimal_comma=True)
    return value is None or value.is_integer()


def _refuse_column(names: Sequence[str], records: Sequence[Record]) -> None:
    single = len(records) > 1 and all(
        len(record.cells) == 1 and headers.is_number(record.cells[0]) for record in records
    )
    if single and len(names) <= 1 and not any(is_label_name(name) for name in names):
        raise FormatError("", "the file has one column: a signal is a line of the file, so write it along a line")
