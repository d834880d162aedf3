"""Reads and writes a model file: a line that names the format, one line of JSON (the manifest), and the body.

The body is an estimator of the manifest's kind (`estimators.py`). The manifest has the body's SHA-256, and a body
that does not match it is refused. This finds damage and mix-ups, but does not protect against an attacker who can
write both parts; pins do (`trust.py`).

`NAME.model` is a pickle; `NAME.onnx.model` and `NAME.skops.model` beside it are other forms of the same estimator.
Together they are one model, called NAME.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from classifier.contract import LoadError
from classifier.models import whole_file
from classifier.signals.features import FEATURE_NAMES

SUFFIX: Final = ".model"
ONNX_SUFFIX: Final = ".onnx.model"
SKOPS_SUFFIX: Final = ".skops.model"
#: In the order of serving: the fastest first; last the pickle, which runs code when it is loaded.
SUFFIXES: Final = (ONNX_SUFFIX, SKOPS_SUFFIX, SUFFIX)

SIZE_VARIABLE: Final = "CONSUMER_MAX_MODEL_BYTES"
_SIZE: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) *(?:([KMGT])(I)?)?B?")
#: 512 MiB. A forest of 100 trees has 3 MiB for PLAID's 537 signals and some 120 MiB for 20,000 noisy ones. Loading
#: a file takes twice its size in memory for a moment, so only a setting allows larger ones.
LARGEST: Final = 512 * 1024 * 1024

_FORMAT: Final = b"signal classifier, format 1\n"
_LONGEST_MANIFEST: Final = 1 << 20  # 1 MiB; ours have some 10 KiB


class ModelError(LoadError):
    """A model cannot be used. The message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Training:
    """The training data of a model. `lengths`: the shortest and the longest signal, in points."""

    signals: int
    lengths: tuple[int, int]
    sha256: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The description of a model in its file.

    `sha256` and `size` (bytes) describe the body. An ONNX or skops body is made from a pickle: `converted_from` is
    the SHA-256 of that pickle's body. `classes` names the columns of the estimator's probabilities, in their
    order.
    """

    kind: str
    classes: tuple[str, ...]
    features: tuple[str, ...]
    training: Training
    versions: Mapping[str, str]
    created: str
    sha256: str
    size: int
    converted_from: str | None = None


def name_of(file: str) -> str:
    """Return the model's name for a file name: `pumps` for `pumps.onnx.model`."""
    return next((file.removesuffix(suffix) for suffix in SUFFIXES if file.endswith(suffix)), file)


def beside(path: Path, suffix: str) -> Path:
    """Return the path of the same model's form with this suffix."""
    return path.with_name(name_of(path.name) + suffix)


def forms_beside(path: Path) -> list[Path]:
    """Return the paths of the other forms, which are made from the pickle at `path`."""
    return [beside(path, suffix) for suffix in (ONNX_SUFFIX, SKOPS_SUFFIX)]


def describe(
    kind: str, body: bytes, classes: tuple[str, ...], training: Training, versions: Mapping[str, str]
) -> Manifest:
    """Make the manifest of a new body for the present list of features."""
    return Manifest(
        kind=kind,
        classes=classes,
        features=FEATURE_NAMES,
        training=training,
        versions=versions,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        sha256=hashlib.sha256(body).hexdigest(),
        size=len(body),
    )


def compose(manifest: Manifest, body: bytes) -> bytes:
    """Return the content of the model file."""
    return _FORMAT + json.dumps(asdict(manifest), allow_nan=False).encode() + b"\n" + body


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of the model at `path`. Runs no code of the file.

    Raises:
        ModelError: the file does not exist, or it is not a model of this format.
    """
    with _readable(path), whole_file.opened(path) as file:
        return _read_head(path, file)


def content_of(path: Path) -> bytes:
    """Read the whole file at `path` once, without parsing it.

    Raises:
        ModelError: the file cannot be read, is a link out of its folder, or is too large.
    """
    with _readable(path):
        return whole_file.read(path, most=largest())


def parse(path: Path, content: bytes) -> tuple[Manifest, bytes]:
    """Return manifest and body of `content`, which was read from `path`; check that they match.

    Raises:
        ModelError: the content is not a model, is damaged or altered, or was made for another list of features.
    """
    file = BytesIO(content)  # shares the bytes; only the body is copied
    manifest = _read_head(path, file)
    body = file.read()
    _check_body(path, manifest, body)
    if manifest.features != FEATURE_NAMES:
        raise ModelError(f"{path} was made for another list of features than this version computes: retrain it")
    return manifest, body


def largest() -> int:
    """Return the size limit of a model file in bytes: `CONSUMER_MAX_MODEL_BYTES`, or 512 MiB.

    The service passes a plain number; a user may write a unit as in the settings (consumer/config/units.py).

    Raises:
        ModelError: the value of the variable is not a size.
    """
    given = os.environ.get(SIZE_VARIABLE) or str(LARGEST)
    if not (found := _SIZE.fullmatch(given.strip().upper())):
        raise ModelError(
            f"{SIZE_VARIABLE} is {given!r}; it must be a number of bytes, or a size such as 500MiB or 2G"
        )
    number, prefix, binary = found.groups()
    return round(float(number) * float(1024 if binary else 1000) ** " KMGT".index(prefix or " "))


def check_size(path: Path, size: int) -> None:
    """Raise ModelError if a file of `size` bytes is too large to be loaded. Called before the file is written."""
    if size > (most := largest()):
        raise _too_large(path, f"has {size:,} bytes, and may have {most:,}")


def _too_large(path: Path, how: str) -> ModelError:
    return ModelError(
        f"{path} {how}: train a smaller one, or raise max_model_bytes ({SIZE_VARIABLE}) "
        "where there is memory for twice that"
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as unreadable:
        raise ModelError(f"cannot read the model {path}: {unreadable.strerror}") from None
    except whole_file.TooLargeError as large:
        raise _too_large(path, str(large)) from None
    except whole_file.UnfitError as unfit:
        raise ModelError(f"{path} {unfit}") from None


def _read_head(path: Path, file: BinaryIO) -> Manifest:
    if file.readline(len(_FORMAT)) != _FORMAT:
        raise ModelError(not_of_this_format(path))
    try:
        return _manifest(json.loads(file.readline(_LONGEST_MANIFEST)))
    except (ValueError, TypeError, KeyError, RecursionError) as malformed:
        reason = f"{type(malformed).__name__}: {malformed}"
        raise ModelError(
            f"the manifest of {path} is damaged ({reason}): copy the file again, or retrain"
        ) from None


def not_of_this_format(path: Path) -> str:
    """Return the message for a file that `classifier train` has not written, such as a user's own pickle."""
    return (
        f"{path} is not a model of this format: make it with `classifier train`, or load a model of your own in "
        "a function `classify(job)` of a file mine.py, and set CONSUMER_CLASSIFIER=mine:classify"
    )


def _manifest(content: dict[str, object]) -> Manifest:
    """Check only the types: the digest and the check of versions find wrong values."""
    training = Training(**cast("dict[str, Any]", content["training"]))
    shortest, longest = training.lengths
    known = {
        "training": replace(training, lengths=(int(shortest), int(longest))),
        "classes": tuple(cast("list[str]", content["classes"])),
        "features": tuple(cast("list[str]", content["features"])),
        "versions": dict(cast("dict[str, str]", content["versions"])),
    }
    return Manifest(**cast("dict[str, Any]", content | known))


def _check_body(path: Path, manifest: Manifest, body: bytes) -> None:
    if len(body) != manifest.size:
        raise ModelError(
            f"{path} is cut or was added to: {len(body):,} bytes of estimator, not {manifest.size:,}; "
            "copy the file again, or retrain"
        )
    if hashlib.sha256(body).hexdigest() != manifest.sha256:
        raise ModelError(
            f"{path} was altered: its SHA-256 is not the manifest's, so it was not loaded; retrain it"
        )
