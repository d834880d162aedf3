"""The model artifact, one file `NAME.model`: saved whole, and verified before any of it is run.

Three parts: a line that names the format, one line of JSON (the manifest), and to the end of the file the
pickled estimator. A pickle is code, so nothing is unpickled before the SHA-256 of exactly those bytes is the
manifest's, and `read_manifest` never unpickles. The digest finds damage and mix-ups; it is no proof against
somebody who can write both parts: whoever may write to the models folder runs code here.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from classifier.features import FEATURE_NAMES, Features

SUFFIX: Final = ".model"

_FORMAT: Final = b"signal classifier, format 1\n"
_LONGEST_MANIFEST: Final = 1 << 20  # 1 MiB; ours have some 10 KiB

Probabilities: TypeAlias = NDArray[np.float64]


class ModelError(Exception):
    """A model that cannot be used as it is. The message names the file and the remedy."""


class Estimator(Protocol):
    """What is asked of a fitted scikit-learn classifier."""

    def predict_proba(self, features: Features, /) -> Probabilities: ...


@dataclass(frozen=True, slots=True)
class Training:
    """What a model was made from; `lengths` are the shortest and the longest signal, in points."""

    signals: int
    lengths: tuple[int, int]
    sha256: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model says of itself. `sha256` and `size` are those of the estimator's bytes."""

    kind: str
    classes: tuple[str, ...]
    features: tuple[str, ...]
    training: Training
    versions: Mapping[str, str]
    created: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A loaded model."""

    name: str
    manifest: Manifest
    estimator: Estimator

    def probabilities(self, features: Features) -> Probabilities:
        """One row per row of `features`, one column per entry of `manifest.classes`; each row sums to 1."""
        return self.estimator.predict_proba(features)


def library_versions() -> dict[str, str]:
    """The versions a pickled estimator depends on, as they are in this process."""
    import sklearn  # noqa: PLC0415 - takes a second; whoever only reads a manifest does not wait for it

    return {"python": platform.python_version(), "numpy": np.__version__, "scikit-learn": sklearn.__version__}


def save(path: Path, estimator: Estimator, classes: tuple[str, ...], training: Training) -> Manifest:
    """Write the artifact, replacing an older one in one step: a reader sees the old or the new, whole.

    `classes` names the columns of the estimator's probabilities, in their order.
    """
    body = pickle.dumps(estimator, protocol=5)
    manifest = Manifest(
        kind="pickle",
        classes=classes,
        features=FEATURE_NAMES,
        training=training,
        versions=library_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        sha256=hashlib.sha256(body).hexdigest(),
        size=len(body),
    )
    head = json.dumps(asdict(manifest), allow_nan=False).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, _FORMAT + head + body)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """What the model at `path` says of itself. Nothing of it is run.

    Raises:
        ModelError: there is no such file, or it is not a model of this format.
    """
    with _opened(path) as file:
        return _read_head(path, file)


def load(path: Path) -> Model:
    """Load the model at `path`, named after the file.

    Raises:
        ModelError: the file is missing, damaged or altered, or was made by another version of scikit-learn or
            with other features than these; retraining cures the last two.
    """
    with _opened(path) as file:
        manifest = _read_head(path, file)
        body = file.read()
    _check_body(path, manifest, body)
    _check_versions(path, manifest)
    return Model(path.stem, manifest, _unpickled(path, body))


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


def _check_versions(path: Path, manifest: Manifest) -> None:
    # scikit-learn itself only warns here, and may then predict something else than was trained.
    made, here = manifest.versions.get("scikit-learn"), library_versions()["scikit-learn"]
    if made != here:
        raise ModelError(
            f"{path} was made with scikit-learn {made} and this is {here}: "
            f"retrain it, or pip install scikit-learn=={made}"
        )
    if manifest.features != FEATURE_NAMES:
        raise ModelError(f"{path} was made with other features than are computed here: retrain it")


def _unpickled(path: Path, body: bytes) -> Estimator:
    try:
        return cast("Estimator", pickle.loads(body))  # noqa: S301 - verified; see the module's docstring
    except Exception as failed:
        # Unpickling runs whatever the estimator's classes do, so it may raise anything.
        reason = f"{type(failed).__name__}: {failed}"
        raise ModelError(
            f"{path} does not load ({reason}): retrain it with the libraries installed here"
        ) from failed


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
