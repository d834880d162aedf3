"""The file formats of labelled signals, as rows of text or arrays. What a good signal is, is not known here.

`.ts` (UCR/UEA archive, sktime): `#` comments, `@` directives, then after `@data` a signal a line: `v,v,...:label`.
`.tsv` (UCR archive): the label, then the samples, separated by tabs; shorter signals are padded with NaN.
`.csv`: the same with commas, shorter signals padded with empty cells or not at all. Where the first line is a
header with a column `label`, the label is in that column.
`.npz`: `labels`, with either `signals` (two-dimensional, padded with NaN) or `values` (all signals one after the
other) and `lengths`. Arrays of objects are refused: numpy keeps them as a pickle, which is code.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

# A guess at what is missing would be a guess at the label.
_FILL_GAPS: Final = "fill missing samples before, or leave the signal out"

Samples: TypeAlias = NDArray[np.float64]


class FormatError(ValueError):
    """A file that is not of its format. `place` is a line or an array in it, or empty."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place = place


class Row(NamedTuple):
    """One labelled signal, not yet checked, and where in the file it is."""

    place: str
    label: str
    samples: Samples


def read_ts(path: Path) -> Iterator[Row]:
    """The signals of a univariate, labelled `.ts` file."""
    lines = _lines(path)
    _read_directives(lines)
    for place, line in lines:
        *dimensions, label = line.split(":")
        if len(dimensions) != 1:
            message = "one ':' is needed, between samples and label"
            if len(dimensions) > 1:
                message = f"{len(dimensions)} dimensions; only univariate signals are read: choose one dimension"
            raise FormatError(place, message)
        yield Row(place, label.strip(), _numbers(place, dimensions[0].split(","), _FILL_GAPS))


def read_tsv(path: Path) -> Iterator[Row]:
    """The signals of a `.tsv` file, label first."""
    for place, line in _lines(path):
        label, *cells = line.split("\t")
        yield Row(place, label.strip(), _without_padding(_numbers(place, cells, _FILL_GAPS)))


def read_csv(path: Path) -> Iterator[Row]:
    """The signals of a `.csv` file, label first unless a header says where it is."""
    label_at = 0
    for number, (place, line) in enumerate(_lines(path)):
        cells = _csv_cells(place, line)
        names = [cell.lower() for cell in cells]
        if number == 0 and "label" in names:
            label_at = names.index("label")
        else:
            yield _csv_row(place, cells, label_at)


def read_npz(path: Path) -> Iterator[Row]:
    """The signals of an `.npz` file."""
    arrays = _arrays(path)
    labels = _array(arrays, "labels")
    signals = _padded(arrays) if "signals" in arrays else _flat(arrays)
    if labels.ndim != 1 or len(labels) != len(signals):
        raise FormatError("labels", f"{labels.size} labels for {len(signals)} signals: one for each is needed")
    for number, (label, samples) in enumerate(zip(labels.tolist(), signals, strict=True)):
        yield Row(f"signal {number}", str(label), samples)


def write_ts(path: Path, signals: Sequence[Samples], labels: Sequence[str]) -> None:
    """Write a `.ts` file. Labels must hold neither blanks nor colons, which the format cannot quote."""
    for label in labels:
        if not label or set(label) & set(" :,\t\r\n"):
            raise FormatError("", f"the label {label!r} cannot be written as .ts: use .csv or .npz")
    equal = len({signal.size for signal in signals}) == 1
    head = [
        f"@problemName {path.stem}",
        "@timeStamps false",
        "@missing false",
        "@univariate true",
        f"@equalLength {str(equal).lower()}",
        f"@classLabel true {' '.join(sorted(set(labels)))}",
        "@data",
    ]
    rows = (f"{','.join(_texts(signal))}:{label}" for signal, label in zip(signals, labels, strict=True))
    path.write_text("\n".join([*head, *rows, ""]), encoding="utf-8")


def write_csv(path: Path, signals: Sequence[Samples], labels: Sequence[str]) -> None:
    """Write a `.csv` file, label first, rows as long as their signals."""
    for label in labels:
        if label.splitlines() != [label.strip()]:
            raise FormatError("", f"the label {label!r} cannot be written as .csv: use .npz")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        # Without it, a first signal of a class called "label" would be taken for a header.
        writer.writerow(["label", "samples"])
        writer.writerows([label, *_texts(signal)] for signal, label in zip(signals, labels, strict=True))


def write_npz(path: Path, signals: Sequence[Samples], labels: Sequence[str]) -> None:
    """Write an `.npz` file of `values`, `lengths` and `labels`."""
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            values=np.concatenate(signals),
            lengths=np.array([signal.size for signal in signals], dtype=np.int64),
            labels=np.array(labels, dtype=np.str_),
        )


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Lines that hold something, each with its place. The archive's files begin with a byte-order mark."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise FormatError("", f"not UTF-8 text ({wrong.reason} at byte {wrong.start})") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"line {number}", line


def _read_directives(lines: Iterator[tuple[str, str]]) -> None:
    """Consume a `.ts` header up to `@data`, and refuse what its signals would need and is not done here."""
    refused = {
        "@univariate false": "only univariate signals are read: choose one dimension",
        "@timestamps true": "time stamps are not read: resample the signals evenly and leave the stamps out",
        "@classlabel false": "the signals have no labels: give each line its label after ':'",
    }
    for place, line in lines:
        words = line.lstrip("\ufeff").lower().split()
        if words[0] == "@data":
            return
        if message := refused.get(" ".join(words[:2])):
            raise FormatError(place, message)
        if not words[0].startswith(("#", "@")):
            raise FormatError(place, "a signal before @data: the header's last line must be @data")
    raise FormatError("", "no @data line: this is not a .ts file, or it was cut")


def _numbers(place: str, cells: Sequence[str], remedy: str) -> Samples:
    try:
        return np.array([float(cell) for cell in cells], dtype=np.float64)
    except ValueError:
        at, bad = next((at, cell) for at, cell in enumerate(cells) if not _is_number(cell))
        raise FormatError(place, f"sample {at} is {bad.strip()!r}, which is not a number: {remedy}") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _csv_cells(place: str, line: str) -> list[str]:
    try:
        (cells,) = csv.reader([line])
    except csv.Error as wrong:
        raise FormatError(place, f"not a line of CSV: {wrong}") from None
    return [cell.strip() for cell in cells]


def _csv_row(place: str, cells: list[str], label_at: int) -> Row:
    if len(cells) <= label_at:
        raise FormatError(place, f"{len(cells)} columns, and the label belongs into column {label_at + 1}")
    label = cells.pop(label_at)
    while cells and not cells[-1]:
        cells.pop()
    remedy = "name the label's column 'label' if this is a header" if place == "line 1" else _FILL_GAPS
    return Row(place, label, _without_padding(_numbers(place, cells, remedy)))


def _without_padding(samples: Samples) -> Samples:
    """Without the NaN at the end; one in the middle stays, and is found when the signal is checked."""
    present = np.flatnonzero(~np.isnan(samples))
    return samples[: present[-1] + 1] if present.size else samples[:0]


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, AttributeError, EOFError, zipfile.BadZipFile) as refused:
        remedy = "save `labels` with `signals` (2-D, NaN-padded), or with `values` and `lengths`; no objects"
        raise FormatError("", f"not a readable .npz ({refused}): {remedy}") from None


def _array(arrays: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in arrays:
        remedy = "`labels` and `signals`, or `labels`, `values` and `lengths` are needed"
        raise FormatError("", f"no array {name!r} among {sorted(arrays)}: {remedy}")
    return arrays[name]


def _floats(name: str, array: NDArray[Any], dimensions: int) -> Samples:
    if array.ndim != dimensions or array.dtype.kind not in "iuf":
        what = f"an array of {array.dtype} with {array.ndim} dimensions"
        raise FormatError(name, f"{what}; numbers in {dimensions} dimensions are needed")
    return array.astype(np.float64)


def _padded(arrays: dict[str, NDArray[Any]]) -> list[Samples]:
    return [_without_padding(row) for row in _floats("signals", arrays["signals"], 2)]


def _flat(arrays: dict[str, NDArray[Any]]) -> list[Samples]:
    values = _floats("values", _array(arrays, "values"), 1)
    lengths = _array(arrays, "lengths")
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != values.size:
        raise FormatError("lengths", f"must be counts that add up to the {values.size} numbers in values")
    ends = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    return [values[start:end] for start, end in pairwise(ends)]


def _texts(signal: Samples) -> list[str]:
    return [repr(value) for value in signal.tolist()]
