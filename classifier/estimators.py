"""The two kinds of model: what each body is, and how it becomes an estimator again.

A pickle is whatever scikit-learn fitted. Loading it imports scikit-learn, runs the pickle's code, and wants
the very version that made it: whoever may write to the models folder runs code here. ONNX is data, a graph
of known operations; it needs ONNX Runtime alone, of any version that knows them. The manifest's kind decides,
not the file's name, and each library is imported only for a model of its kind.

Loading never computes, and an ONNX session has no threads: a process may load models and fork afterwards.
"""

from __future__ import annotations

import os
import pickle
import platform
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from classifier import model
from classifier.features import Features
from classifier.model import Manifest, ModelError, Training

PICKLE: Final = "pickle"
ONNX: Final = "onnx"

#: Names inside an ONNX body: its input, shape (rows, features), and its output, shape (rows, classes).
INPUT: Final = "features"
OUTPUT: Final = "probabilities"

_ERRORS_ONLY: Final = 3  # of its log, which goes to stderr

Probabilities: TypeAlias = NDArray[np.float64]


class Estimator(Protocol):
    """What is asked of a fitted scikit-learn classifier."""

    def predict_proba(self, features: Features, /) -> Probabilities: ...


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A loaded model."""

    name: str
    manifest: Manifest
    estimator: Estimator

    def probabilities(self, features: Features) -> Probabilities:
        """One row per row of `features`, one column per entry of `manifest.classes`; each row sums to 1."""
        return self.estimator.predict_proba(features)


class OnnxEstimator:
    """An ONNX body in ONNX Runtime, asked as a scikit-learn classifier is."""

    def __init__(self, body: bytes) -> None:
        """Raise ImportError without ONNX Runtime, and what that raises for a body it cannot use."""
        runtime = onnx_runtime()
        options = runtime.SessionOptions()
        # Threads would not survive a fork, and a pool of processes has one for each processor already.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _ERRORS_ONLY
        self._session = runtime.InferenceSession(body, options, providers=["CPUExecutionProvider"])

    def predict_proba(self, features: Features, /) -> Probabilities:
        """One row per row of `features`, one column per class."""
        (probabilities,) = self._session.run([OUTPUT], {INPUT: features})
        return np.asarray(probabilities, dtype=np.float64)


def save(path: Path, estimator: Estimator, classes: tuple[str, ...], training: Training) -> Manifest:
    """Save `estimator` as a pickle at `path`, replacing an older model of this name.

    An ONNX artifact beside it goes first: at no moment is it served in the name of a pickle that it was not
    made from.
    """
    body = pickle.dumps(estimator, protocol=5)
    manifest = model.describe(PICKLE, body, classes, training, _versions("scikit-learn"))
    model.onnx_beside(path).unlink(missing_ok=True)
    model.write(path, manifest, body)
    return manifest


def save_onnx(path: Path, body: bytes, pickled: Manifest) -> Manifest:
    """Save `body`, the ONNX of the estimator that `pickled` describes, at `path`."""
    versions = _versions("onnxruntime", "skl2onnx", "scikit-learn")
    manifest = model.describe(ONNX, body, pickled.classes, pickled.training, versions)
    manifest = replace(manifest, converted_from=pickled.sha256)
    model.write(path, manifest, body)
    return manifest


def load(path: Path) -> Model:
    """Load the model at `path`, by its kind.

    Raises:
        ModelError: as `model.read`; or the model is a pickle of another version of scikit-learn, an ONNX
            that was not made from the pickle beside it, of an unknown kind, or its library cannot load it.
    """
    manifest, body = model.read(path)
    if manifest.kind == PICKLE:
        estimator = _from_pickle(path, manifest, body)
    elif manifest.kind == ONNX:
        estimator = _from_onnx(path, manifest, body)
    else:
        raise ModelError(f"{path} is of the kind {manifest.kind!r}, which this version does not know: update it")
    return Model(model.name_of(path.name), manifest, estimator)


def onnx_runtime() -> Any:  # noqa: ANN401 - it ships no types
    """ONNX Runtime, which says nothing to anybody.

    Raises:
        ImportError: it is not installed.
    """
    # From 1.29 on it reports its use to its makers, by a thread that starts with the import.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415 - optional, and only where a model is ONNX

    return onnxruntime


def _from_pickle(path: Path, manifest: Manifest, body: bytes) -> Estimator:
    _check_scikit_learn(path, manifest)
    try:
        return cast("Estimator", pickle.loads(body))  # noqa: S301 - verified; see the module's docstring
    except Exception as failed:
        # Unpickling runs whatever the estimator's classes do, so it may raise anything.
        reason = f"{type(failed).__name__}: {failed}"
        raise ModelError(
            f"{path} does not load ({reason}): retrain it with the libraries installed here"
        ) from failed


def _check_scikit_learn(path: Path, manifest: Manifest) -> None:
    # scikit-learn itself only warns here, and may then predict something else than was trained.
    made, here = manifest.versions.get("scikit-learn"), metadata.version("scikit-learn")
    if made != here:
        raise ModelError(
            f"{path} was made with scikit-learn {made} and this is {here}: "
            f"retrain it, or pip install scikit-learn=={made}"
        )


def _from_onnx(path: Path, manifest: Manifest, body: bytes) -> Estimator:
    _check_origin(path, manifest)
    try:
        return OnnxEstimator(body)
    except ImportError:
        raise ModelError(
            f"{path} is ONNX, which needs onnxruntime: pip install 'rabbitmq-classifier[onnx]', "
            "or remove the file to have the pickle served"
        ) from None
    except Exception as failed:
        # ONNX Runtime's exceptions have no common class of their own.
        raise ModelError(
            f"ONNX Runtime {metadata.version('onnxruntime')} cannot use {path} ({failed}): "
            "convert it again with the versions installed here, `classifier train --onnx`"
        ) from failed


def _check_origin(path: Path, manifest: Manifest) -> None:
    """Beside a newer pickle, an older ONNX would answer in its name."""
    pickled = model.pickle_beside(path)
    if pickled != path and pickled.exists() and model.read_manifest(pickled).sha256 != manifest.converted_from:
        raise ModelError(
            f"{path} was not made from {pickled}: train again with --onnx, or remove the one that is outdated"
        )


def _versions(*libraries: str) -> dict[str, str]:
    """The versions that make a body what it is, as they are here."""
    return {"python": platform.python_version(), "numpy": np.__version__} | {
        library: metadata.version(library) for library in libraries
    }
