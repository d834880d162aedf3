"""Reads and writes data sets: signals, usually with labels. The reader checks each signal, once.

The file's suffix determines the format; `formats.py` describes each. A data set is read as a whole or not at all:
any error ends the reading, and names the file, the place in it and the remedy.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from classifier.signals import arrays, formats
from classifier.signals.signals import Signal, SignalError, checked_array
from classifier.signals.text_file import FormatError


class DataError(Exception):
    """The data cannot be used. The message names the file, the place and the remedy."""


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """Signals, with a label for each or without labels.

    `assumed`: the reader's assumptions about the file, in a few words each.
    """

    signals: tuple[Signal, ...]
    labels: tuple[str, ...]
    assumed: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.signals)

    def __add__(self, other: DataSet) -> DataSet:
        return DataSet(self.signals + other.signals, self.labels + other.labels)

    @property
    def classes(self) -> list[str]:
        """The labels that occur, sorted as `in_order` does."""
        return in_order(set(self.labels))

    @property
    def lengths(self) -> tuple[int, int]:
        """The smallest and the largest number of points."""
        sizes = [signal.size for signal in self.signals]
        return min(sizes), max(sizes)

    def subset(self, places: Iterable[int]) -> DataSet:
        places = list(places)
        return DataSet(tuple(self.signals[at] for at in places), tuple(self.labels[at] for at in places))

    def sha256(self) -> str:
        """Return the SHA-256 of labels and samples. It does not depend on the file format."""
        digest = hashlib.sha256()
        for label, signal in zip(self.labels, self.signals, strict=True):
            name = label.encode(errors="surrogatepass")
            digest.update(f"{len(name)} {signal.size}\n".encode())
            digest.update(name)
            digest.update(np.ascontiguousarray(signal, dtype="<f8").tobytes())
        return digest.hexdigest()


#: Suffix -> reader, which gets a path and whether labels are `required`.
_READERS: Final[dict[str, Callable[..., formats.Reading]]] = {
    ".ts": formats.read_ts,
    ".tsv": partial(formats.read_table, usual="\t"),
    ".csv": partial(formats.read_table, usual=","),
    ".npz": arrays.read_npz,
}
# Labels that mean "missing". "None" and "-" are not among them, because they may be classes.
_NO_LABELS: Final = frozenset({"nan", "?", "<na>"})


def in_order(labels: Iterable[str]) -> list[str]:
    """Sort labels. Numbers are sorted by value, so that class 10 follows class 9."""
    return sorted(labels, key=lambda label: (0, int(label), "") if label.isdecimal() else (1, 0, label))


def read(path: Path, *, required: bool = True) -> DataSet:
    """Read a data set. Without `required`, the file may have no labels.

    Raises:
        DataError: the file cannot be read, does not match its suffix, or has no signals or an invalid one.
    """
    if not is_data(path):
        raise DataError(f"{path}: the name must end in one of {', '.join(_READERS)}")
    reader = _READERS[path.suffix.lower()]
    try:
        rows, assumed = reader(path, required=required)
        signals = tuple(_checked(row) for row in rows)
        labels = tuple(_labelled(row, row.label) for row in rows if row.label is not None)
    except OSError as unreadable:
        raise DataError(f"cannot read {path}: {unreadable.strerror or unreadable}") from None
    except FormatError as wrong:
        raise DataError(f"{path}{wrong.place and ', ' + wrong.place}: {wrong}") from None
    if not rows:
        raise DataError(f"{path} holds no signal: give at least one{', with its label' if required else ''}")
    return DataSet(signals, labels, assumed)


def write(path: Path, data: DataSet) -> None:
    """Write a data set as CSV, label first, rows as long as their signals; create missing folders.

    No label may hold a line break.

    Raises:
        DataError: the file cannot be written, or its name promises another format.
    """
    if path.suffix.lower() != ".csv":
        raise DataError(f"{path}: the name must end in .csv")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            # Without this header, a reader would take the first signal of a class called "label" for a header.
            writer.writerow(["label", "samples"])
            rows = zip(data.labels, data.signals, strict=True)
            writer.writerows([label, *signal.tolist()] for label, signal in rows)
    except OSError as unwritable:
        raise DataError(f"cannot write {path}: {unwritable.strerror or unwritable}") from None


def is_data(path: Path) -> bool:
    return path.suffix.lower() in _READERS


def _labelled(row: formats.SignalRow, label: str) -> str:
    if not label:
        raise FormatError(row.place, "the label is empty: every signal needs one")
    if label.lower() in _NO_LABELS:
        raise FormatError(
            row.place, f"the label is {label!r}, which says that it is missing: every signal needs one"
        )
    return label


def _checked(row: formats.SignalRow) -> Signal:
    try:
        return checked_array(row.samples)
    except SignalError as bad:
        raise FormatError(row.place, str(bad)) from None
