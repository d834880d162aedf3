"""Files of signals and jobs: read or refused with one line, and never anything else, whatever bytes they hold.

The first byte chooses the format; the rest is the file. What was read holds finite samples, and as many labels as
signals or none.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from classifier import jobs_file
from classifier.errors import RefusedError
from classifier.signals import datasets
from classifier.training import report

MODULES = (
    "classifier.signals.arrays",
    "classifier.signals.datasets",
    "classifier.signals.formats",
    "classifier.jobs_file",
    "classifier.signals.layout",
    "classifier.signals.tables",
    "classifier.signals.text_file",
)
SUFFIXES = (".csv", ".tsv", ".ts", ".npz", ".json", ".jsonl")


def one(data: bytes) -> None:
    if not data:
        return
    suffix = SUFFIXES[data[0] % len(SUFFIXES)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        path.write_bytes(data[1:])
        read(path)


def read(path: Path) -> str:
    """Read the file in every way; return how the last one ended."""
    if not datasets.is_data(path):
        return _jobs(path)
    return [_signals(path, required=required) for required in (True, False)][-1]


def _signals(path: Path, *, required: bool) -> str:
    try:
        data = datasets.read(path, required=required)
    except datasets.DataError as refused:
        return _refused(str(refused))
    assert len(data.labels) == len(data) or not (data.labels or required)
    assert all(np.isfinite(signal).all() for signal in data.signals)
    assert report.read_line(path, data).isprintable()
    return "read"


def _jobs(path: Path) -> str:
    try:
        entries = jobs_file.read(path)
    except RefusedError as refused:
        return _refused(str(refused))
    assert all((entry.job is None) == bool(entry.fault) for entry in entries)
    assert not any("\n" in entry.fault for entry in entries)
    return "read"


def _refused(message: str) -> str:
    assert "\n" not in message
    return "refused"
