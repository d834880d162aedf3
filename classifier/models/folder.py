"""Lists the models folder, finds the model that a job names, and chooses the file that serves it.

`NAME.model` is a pickle; `NAME.onnx.model` and `NAME.skops.model` are the same model as ONNX and as skops. If
several exist, ONNX is served, because it answers twenty times as fast and loading it runs no code. Next is skops,
which runs no code either. Jobs choose models by name, never by path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from classifier.contract import JobError
from classifier.models import model

DEFAULT: Final = "default"

# A name begins with a letter or digit and has no separator, so it cannot leave the folder or name a hidden file.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

# Mutable state of the module: the files of each frozen folder. Only `freeze` sets it.
_frozen: Final[dict[Path, set[str]]] = {}


def models_folder() -> Path:
    """Return the models folder: `CONSUMER_MODELS_DIR`, or `models` in the working directory."""
    return Path(os.environ.get("CONSUMER_MODELS_DIR") or "models")


def is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def freeze(folder: Path) -> None:
    """Fix the list of files in the folder, for this process and all its forks.

    All workers then serve the same models until a reload.
    """
    _frozen[folder] = _found(folder)


def every(folder: Path) -> list[Path]:
    """Return the file of every model in the folder, sorted by name."""
    files = _files(folder)
    return [_served(folder, files, name) for name in _names(files)]


def choose(folder: Path, name: object = None) -> Path:
    """Return the file of the model `name`; None means the model `default`, or the only one.

    Raises:
        JobError: there is no such model, or the job must name one.
    """
    files = _files(folder)
    available = _names(files)
    if name is None:
        if unnamed := _default_of(available):
            return _served(folder, files, unnamed)
        raise JobError(f"name the model: {_list(available)}" if available else nothing_in(folder))
    if not isinstance(name, str) or not is_name(name):
        raise JobError("model must be a model's name: up to 64 letters, digits, '.', '_' or '-', and never a path")
    if name not in available:
        raise JobError(f"there is no model {name!r}: {_list(available) or nothing_in(folder)}")
    return _served(folder, files, name)


def default(folder: Path) -> str | None:
    """Return the model of jobs that name none: `default`, or the only one; None if jobs must name one."""
    return _default_of(_names(_files(folder)))


def nothing_in(folder: Path) -> str:
    """Return the message for a folder without models."""
    return (
        f"no models in {str(folder)!r}: make one with `classifier train`, set CONSUMER_MODELS_DIR, or load a "
        "model of your own in a function, and name it in CONSUMER_CLASSIFIER"
    )


def _files(folder: Path) -> set[str]:
    return _frozen[folder] if folder in _frozen else _found(folder)


def _found(folder: Path) -> set[str]:
    try:
        return {file for file in os.listdir(folder) if file.endswith(model.SUFFIX)}  # noqa: PTH208 - three times as fast
    except OSError:
        return set()


def _names(files: set[str]) -> list[str]:
    return sorted({name for name in map(model.name_of, files) if is_name(name)})


def _served(folder: Path, files: set[str], name: str) -> Path:
    return folder / next(name + suffix for suffix in model.SUFFIXES if name + suffix in files)


def _default_of(available: list[str]) -> str | None:
    if DEFAULT in available:
        return DEFAULT
    return available[0] if len(available) == 1 else None


def _list(available: list[str]) -> str:
    return f"available: {', '.join(available)}" if available else ""
