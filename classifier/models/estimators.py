"""Saves and loads the three kinds of model: pickle, skops and ONNX.

A pickle holds the estimator that scikit-learn fitted; loading it runs code from the file. skops holds the same
estimator as data, made only of the types in the list of skops_file.py. ONNX (onnx_file.py) is data too: a graph of
operations, which any ONNX Runtime that supports these operations can run. The other two kinds need the
scikit-learn version that made them. The manifest, not the file's name, determines the kind. Each library is
imported only for a model of its kind.

Only a pinned file is loaded, whatever its kind (`trust.py`). Loading predicts nothing, and an ONNX session has no
threads, so a process may load models and fork afterwards.
"""

from __future__ import annotations

import pickle
import platform
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Final, cast

import numpy as np

from classifier.models import model, onnx_file, trust, whole_file
from classifier.models.estimator import Estimator
from classifier.models.model import Manifest, ModelError, Training

PICKLE: Final = "pickle"
ONNX: Final = "onnx"
SKOPS: Final = "skops"

#: The libraries whose versions determine a body.
_LIBRARIES: Final = {
    PICKLE: ("scikit-learn",),
    SKOPS: ("skops", "scikit-learn"),
    ONNX: ("onnxruntime", "skl2onnx", "scikit-learn"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    name: str
    manifest: Manifest
    estimator: Estimator


def save(
    path: Path, estimator: Estimator, classes: tuple[str, ...], training: Training, pins: Path | None = None
) -> Manifest:
    """Save `estimator` as a pickle at `path`, replace an older model of this name, and pin it in `pins`.

    Without `pins` the model is not trusted yet. The ONNX and skops files of the older model are removed first, so
    that neither is ever served in place of the new pickle.

    Raises:
        OSError: the model cannot be written.
        ModelError: the pins cannot be read or written, or the model is too large to be loaded.
    """
    body = pickle.dumps(estimator, protocol=5)
    manifest = model.describe(PICKLE, body, classes, training, _versions(PICKLE))
    content = _content(path, manifest, body)
    _remove(model.forms_beside(path), pins)
    _write(path, content, pins)
    return manifest


def save_form(path: Path, kind: str, body: bytes, pickled: Manifest, pins: Path | None = None) -> Manifest:
    """Save `body`, the ONNX or skops form of the pickle that `pickled` describes, at `path`. Raises as `save`."""
    manifest = model.describe(kind, body, pickled.classes, pickled.training, _versions(kind))
    manifest = replace(manifest, converted_from=pickled.sha256)
    _write(path, _content(path, manifest, body), pins)
    return manifest


def load(path: Path) -> Model:
    """Load the model at `path`, by its kind, if its file is pinned.

    Raises:
        ModelError: as `model.content_of`, `trust.check` and `model.parse`, before any code of the file runs. Also
            if the kind is unknown, the version of scikit-learn is another one, the body was not made from the
            pickle beside it, or its library refuses it.
    """
    manifest, body = _verified(path)
    loaders = {PICKLE: _from_pickle, ONNX: _from_onnx, SKOPS: _from_skops}
    if manifest.kind not in loaders:
        raise ModelError(f"{path} is of the kind {manifest.kind!r}, which this version does not know: update it")
    return Model(model.name_of(path.name), manifest, loaders[manifest.kind](path, manifest, body))


def _verified(path: Path) -> tuple[Manifest, bytes]:
    """Read manifest and body. The return frees the memory of the file's content before the body is loaded."""
    content = model.content_of(path)
    trust.check(path, content)
    return model.parse(path, content)


def _content(path: Path, manifest: Manifest, body: bytes) -> bytes:
    content = model.compose(manifest, body)
    model.check_size(path, len(content))
    return content


def _write(path: Path, content: bytes, pins: Path | None) -> None:
    with trust.replacing(path, content, pins) if pins else nullcontext():
        whole_file.write(path, content)


def _remove(outdated: list[Path], pins: Path | None) -> None:
    """Remove files and their pins. If its pin remained, an old file that is put back could be served again."""
    for path in outdated:
        path.unlink(missing_ok=True)
    if pins:
        trust.forget([path.name for path in outdated], pins)


def _from_pickle(path: Path, manifest: Manifest, body: bytes) -> Estimator:
    _check_scikit_learn(path, manifest)
    try:
        return cast("Estimator", pickle.loads(body))  # noqa: S301 - pinned; see the module's docstring
    except Exception as failed:
        # Unpickling runs whatever the estimator's classes do, so it may raise anything.
        reason = f"{type(failed).__name__}: {failed}"
        raise ModelError(
            f"{path} does not load ({reason}): retrain it with the libraries installed here"
        ) from failed


def _check_scikit_learn(path: Path, manifest: Manifest) -> None:
    # scikit-learn only warns of another version, and may then predict differently.
    made, here = manifest.versions.get("scikit-learn"), metadata.version("scikit-learn")
    if made != here:
        raise ModelError(
            f"{path} was made with scikit-learn {made} and this is {here}: "
            f"retrain it, or pip install scikit-learn=={made}"
        )


def _from_onnx(path: Path, manifest: Manifest, body: bytes) -> Estimator:
    _check_origin(path, manifest)
    try:
        return onnx_file.OnnxEstimator(body)
    except ImportError:
        raise _missing(path, manifest, "onnxruntime") from None
    except Exception as failed:
        # ONNX Runtime's exceptions have no common class of their own.
        raise ModelError(
            f"ONNX Runtime {metadata.version('onnxruntime')} cannot use {path} ({failed}): "
            "convert it again with the versions installed here, `classifier train --onnx`"
        ) from failed


def _from_skops(path: Path, manifest: Manifest, body: bytes) -> Estimator:
    _check_origin(path, manifest)
    _check_scikit_learn(path, manifest)
    try:
        from classifier.models import skops_file  # noqa: PLC0415 - optional, and only where a model is skops

        return skops_file.load(body, most=model.largest())
    except ImportError:
        raise _missing(path, manifest, "skops") from None
    except skops_file.SkopsError as refused:
        raise ModelError(f"{path} {refused}") from refused


def _missing(path: Path, manifest: Manifest, library: str) -> ModelError:
    return ModelError(
        f"{path} is of the kind {manifest.kind}, which needs {library}: pip install "
        f"'rabbitmq-classifier[{manifest.kind}]', or remove the file to have the pickle served"
    )


def _check_origin(path: Path, manifest: Manifest) -> None:
    """Refuse an ONNX or skops file that was not made from the pickle beside it."""
    pickled = model.beside(path, model.SUFFIX)
    if pickled != path and pickled.exists() and model.read_manifest(pickled).sha256 != manifest.converted_from:
        raise ModelError(
            f"{path} was not made from {pickled}: train again with --{manifest.kind}, "
            "or remove the one that is outdated"
        )


def _versions(kind: str) -> dict[str, str]:
    """Return the installed versions of the libraries that determine a body of this kind."""
    versions = {library: metadata.version(library) for library in _LIBRARIES[kind]}
    return {"python": platform.python_version(), "numpy": np.__version__, **versions}
