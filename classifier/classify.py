"""One job → one answer: the function of the contract's program, of `classifier predict` and of warm workers.

Jobs are `{"signal": [numbers], "model": optional name}`; further keys belong to their sender and are ignored.
Models are loaded once per process, from the folder in `CONSUMER_MODELS_DIR`, by name and never by path. The
signal is checked before a model is chosen, and a model is chosen before it is loaded: a bad job costs next
to nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from classifier import model, signals
from classifier.contract import JobError
from classifier.features import Features, extract, extract_all

DEFAULT: Final = "default"

# Begins with a letter or digit and has no separator: it cannot leave the folder, or mean a hidden file.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def classify(job: dict[str, Any], folder: Path | None = None) -> dict[str, object]:
    """The answer to `job`: label, probabilities by class, and which model gave them.

    `folder` is where models are, unless the environment's is meant.

    Raises:
        JobError: the signal is not one, or there is no such model; both are the job's fault.
        ModelError: the model exists and cannot be used.
    """
    try:
        signal = signals.checked(job.get("signal"))
    except signals.SignalError as bad_signal:
        raise JobError(str(bad_signal)) from None
    chosen = _loaded(_choose(folder or models_folder(), job.get("model")))
    return _answers(chosen, extract(signal)[None, :])[0]


def classify_all(
    batch: Sequence[signals.Signal], folder: Path, name: str | None = None
) -> list[dict[str, object]]:
    """The same answers as `classify` gives one by one, to signals that are known to be good.

    Raises:
        JobError: there is no such model.
        ModelError: the model exists and cannot be used.
    """
    return _answers(_loaded(_choose(folder, name)), extract_all(batch))


def preload() -> list[str]:
    """Load every model of the folder, for a process that forks workers afterwards; their names.

    Raises:
        ModelError: one of them cannot be used, or there is none.
    """
    folder = models_folder()
    if not (available := _available(folder)):
        raise model.ModelError(_nothing_in(folder))
    return [_loaded(_path(folder, name)).name for name in available]


def models_folder() -> Path:
    """Where models are: `CONSUMER_MODELS_DIR`, or `models` under the working directory."""
    return Path(os.environ.get("CONSUMER_MODELS_DIR") or "models")


def is_name(text: str) -> bool:
    """Whether a model can be called so."""
    return _NAME.fullmatch(text) is not None


# Keyed by path, so bounded by the models folder: a name that has no file never gets here.
@cache
def _loaded(path: Path) -> model.Model:
    return model.load(path)


def _choose(folder: Path, name: object) -> Path:
    available = _available(folder)
    if name is None:
        return _path(folder, _without_name(folder, available))
    if not isinstance(name, str) or not is_name(name):
        raise JobError("model must be a model's name: up to 64 letters, digits, '.', '_' or '-', and never a path")
    if name not in available:
        raise JobError(f"there is no model {name!r}: {_list(available) or _nothing_in(folder)}")
    return _path(folder, name)


def _available(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob(f"*{model.SUFFIX}") if is_name(path.stem))


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}{model.SUFFIX}"


def _without_name(folder: Path, available: list[str]) -> str:
    if DEFAULT in available:
        return DEFAULT
    if len(available) == 1:
        return available[0]
    raise JobError(f"name the model: {_list(available)}" if available else _nothing_in(folder))


def _list(available: list[str]) -> str:
    return f"available are {', '.join(available)}" if available else ""


def _nothing_in(folder: Path) -> str:
    return f"no models in {str(folder)!r}: make one with `classifier train`, or set CONSUMER_MODELS_DIR"


def _answers(chosen: model.Model, features: Features) -> list[dict[str, object]]:
    classes = chosen.manifest.classes
    return [
        {
            "label": classes[int(row.argmax())],
            "probabilities": dict(zip(classes, row.tolist(), strict=True)),
            "model": chosen.name,
            "model_sha256": chosen.manifest.sha256,
        }
        for row in chosen.probabilities(features)
    ]
