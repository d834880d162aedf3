"""Reads signals in `.npz` archives of numpy, without pickle, because a pickle is code.

An archive has `labels`, and either `signals` (two-dimensional, padded with NaN) or `values` (all signals one after
the other) and `lengths`. A damaged archive is refused with one sentence, whatever numpy and zipfile raise.
"""

from __future__ import annotations

import io
import warnings
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier.signals.formats import Reading, Samples, SignalRow, without_padding
from classifier.signals.text_file import FormatError, content_of

_SAVE: Final = "save `labels` with `signals` (2-D, NaN-padded), or with `values` and `lengths`; no objects"
_NPY: Final = b"\x93NUMPY"
_ZIP: Final = b"PK"


def read_npz(path: Path, *, required: bool) -> Reading:
    """Read an `.npz` file. With `required`, a file without labels is refused.

    Raises:
        FormatError: the archive is damaged, or lacks the arrays of the module's docstring.
    """
    arrays = _arrays(content_of(path))
    if "signals" in arrays:
        signals = [without_padding(row) for row in _floats("signals", arrays["signals"], 2)]
    else:
        signals = _flat(arrays)
    if "labels" not in arrays and not required:
        return Reading([SignalRow(f"signal {at}", None, samples) for at, samples in enumerate(signals)], ())
    labels = _labels(_array(arrays, "labels"))
    if len(labels) != len(signals):
        raise FormatError("labels", f"{len(labels)} labels for {len(signals)} signals: one for each is needed")
    pairs = enumerate(zip(labels, signals, strict=True))
    return Reading([SignalRow(f"signal {at}", label, samples) for at, (label, samples) in pairs], ())


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    if content.startswith(_NPY):
        raise FormatError("", f"this is an .npy file of one array, renamed: {_SAVE}")
    if not content.startswith(_ZIP):
        raise FormatError("", f"this is not an .npz file, which begins like a ZIP archive: {_SAVE}")
    try:
        # numpy warns of old or odd headers, which the user cannot change.
        with warnings.catch_warnings(action="ignore"), np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    except Exception as refused:  # noqa: BLE001 - damaged bytes raise nearly anything in zipfile, zlib and numpy
        cause = str(refused).partition("\n")[0][:200] or type(refused).__name__
        raise FormatError("", f"not a readable .npz ({cause}): {_SAVE}") from None


def _array(arrays: dict[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in arrays:
        remedy = "`labels` and `signals`, or `labels`, `values` and `lengths` are needed"
        raise FormatError("", f"no array {name!r} among {sorted(arrays)}: {remedy}")
    return arrays[name]


def _labels(array: NDArray[Any]) -> list[str]:
    if array.ndim != 1 or array.dtype.kind not in "USiufb":
        what = f"an array of {array.dtype} with {array.ndim} dimensions"
        raise FormatError("labels", f"{what}; texts or whole numbers in 1 dimension are needed")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise FormatError("labels", "a label is NaN or infinite: every signal needs one")
    try:
        # Old programs and HDF5 converters write text as bytes (dtype S).
        labels = [label.decode() if isinstance(label, bytes) else str(label) for label in array.tolist()]
        for label in labels:
            label.encode()
    except ValueError:
        raise FormatError("labels", "a label is not Unicode text: save the labels as text (dtype U)") from None
    return labels


def _floats(name: str, array: NDArray[Any], dimensions: int) -> Samples:
    if array.ndim != dimensions or array.dtype.kind not in "iuf":
        what = f"an array of {array.dtype} with {array.ndim} dimensions"
        raise FormatError(name, f"{what}; numbers in {dimensions} dimensions are needed")
    # A long double that is too large becomes infinite. The check of signals refuses it.
    with np.errstate(over="ignore"):
        return array.astype(np.float64)


def _flat(arrays: dict[str, NDArray[Any]]) -> list[Samples]:
    values = _floats("values", _array(arrays, "values"), 1)
    lengths = _array(arrays, "lengths")
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1 or not _add_up(lengths.tolist(), values.size):
        raise FormatError("lengths", f"must be counts that add up to the {values.size} numbers in values")
    return [values[start:end] for start, end in pairwise(accumulate(lengths.tolist(), initial=0))]


def _add_up(lengths: list[int], total: int) -> bool:
    # Python's integers cannot overflow; the sum of numpy's could wrap around and be right by chance.
    return min(lengths, default=0) >= 0 and sum(lengths) == total
