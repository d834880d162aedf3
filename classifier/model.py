"""The model artifact, one file: saved whole, and verified before any of it is used.

Three parts: a line that names the format, one line of JSON (the manifest), and to the end of the file the
body, which is an estimator of the manifest's kind (`estimators.py`). Nobody gets a body whose SHA-256 is not
the manifest's, and `read_manifest` reads no further than the manifest. The digest finds damage and mix-ups;
it is no proof against somebody who can write both parts.

`NAME.model` is a pickle, `NAME.onnx.model` beside it the same estimator as ONNX: one model, called NAME.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from classifier.features import FEATURE_NAMES

SUFFIX: Final = ".model"
ONNX_SUFFIX: Final = ".onnx.model"

_ONNX: Final = ".onnx"
_FORMAT: Final = b"signal classifier, format 1\n"
_LONGEST_MANIFEST: Final = 1 << 20  # 1 MiB; ours have some 10 KiB


class ModelError(Exception):
    """A model that cannot be used as it is. The message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Training:
    """What a model was made from; `lengths` are the shortest and the longest signal, in points."""

    signals: int
    lengths: tuple[int, int]
    sha256: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model says of itself.

    `sha256` and `size` are those of the body; `converted_from` is the SHA-256 of the pickle's body that an
    ONNX body was made from. `classes` names the columns of the estimator's probabilities, in their order.
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
    """What the model in a file of this name is called."""
    return file.removesuffix(SUFFIX).removesuffix(_ONNX)


def pickle_beside(path: Path) -> Path:
    """Where the pickle of the model in this file is, or would be."""
    return path.with_name(name_of(path.name) + SUFFIX)


def onnx_beside(path: Path) -> Path:
    """Where the ONNX of the model in this file is, or would be."""
    return path.with_name(name_of(path.name) + ONNX_SUFFIX)


def describe(
    kind: str, body: bytes, classes: tuple[str, ...], training: Training, versions: Mapping[str, str]
) -> Manifest:
    """The manifest of a new body, made now, of the features that are computed here."""
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


def write(path: Path, manifest: Manifest, body: bytes) -> None:
    """Write the artifact, replacing an older one in one step: a reader sees the old or the new, whole."""
    head = json.dumps(asdict(manifest), allow_nan=False).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, _FORMAT + head + body)


def read_manifest(path: Path) -> Manifest:
    """What the model at `path` says of itself. Nothing of it is run.

    Raises:
        ModelError: there is no such file, or it is not a model of this format.
    """
    with _opened(path) as file:
        return _read_head(path, file)


def read(path: Path) -> tuple[Manifest, bytes]:
    """The manifest of the model at `path`, and its body, which is what the manifest says.

    Raises:
        ModelError: the file is missing, damaged or altered, or was made with other features than these.
    """
    with _opened(path) as file:
        manifest = _read_head(path, file)
        body = file.read()
    _check_body(path, manifest, body)
    if manifest.features != FEATURE_NAMES:
        raise ModelError(f"{path} was made with other features than are computed here: retrain it")
    return manifest, body


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as unreadable:
        raise ModelError(f"cannot read the model {path}: {unreadable.strerror}") from None


def _read_head(path: Path, file: BinaryIO) -> Manifest:
    if file.readline(len(_FORMAT)) != _FORMAT:
        raise ModelError(
            f"{path} is not a model of this format: make it with `classifier train DATA --out {path}`"
        )
    try:
        return _manifest(json.loads(file.readline(_LONGEST_MANIFEST)))
    except (ValueError, TypeError, KeyError) as malformed:
        reason = f"{type(malformed).__name__}: {malformed}"
        raise ModelError(
            f"the manifest of {path} is damaged ({reason}): copy the file again, or retrain"
        ) from None


def _manifest(content: dict[str, object]) -> Manifest:
    """Only the shape is checked: what a wrong value could do, the digest and the version check prevent."""
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


def _replace(path: Path, content: bytes) -> None:
    # In the same folder, since a rename is one step only within a file system.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes it private, and a service runs as another user than its trainer.
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
