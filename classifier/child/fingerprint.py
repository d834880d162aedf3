"""Identifies what the fork server has loaded, to find consumers that run different code or models.

It names the file of the user's module and each model that `classifier.classify` has loaded, each with the
beginning of its SHA-256. It hashes no other file, because libraries have versions. It also names the default
model, for the log. Standard library only; imports no module.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Final

#: As many characters as git shows of a commit's id by default in large repositories.
_SHOWN: Final = 12
#: The most entries, because one cell of the management console shows them all. The last entry is a digest of all
#: others, so that a difference in any of them shows.
_MOST: Final = 8
_OWN: Final = "classifier"


def of(target: str) -> list[tuple[str, str]]:
    """Return the name and the digest of each part of `target`, a `package.module:function` that was imported."""
    digests = [*_module(target.partition(":")[0]), *_models()]
    if len(digests) <= _MOST:
        return [(name, digest[:_SHOWN]) for name, digest in digests]
    shown, others = digests[: _MOST - 1], digests[_MOST - 1 :]
    together = hashlib.sha256(repr(others).encode()).hexdigest()
    return [*((name, digest[:_SHOWN]) for name, digest in shown), (f"{len(others)} more", together[:_SHOWN])]


def default_model(target: str) -> str | None:
    """Return the model of jobs that name none, if `target` is the service's own classifier, and if there is one.

    Only the user knows which models their own function uses.
    """
    ask = getattr(sys.modules.get(target.partition(":")[0]), "default_model", None)
    return ask() if ask and target.partition(".")[0] == _OWN else None


def _module(name: str) -> list[tuple[str, str]]:
    """Return name and digest of a user's module; nothing for the service's own, which its version identifies."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or name.partition(".")[0] == _OWN:
        return []
    try:
        content = Path(file).read_bytes()
    except OSError:  # the file was deleted, or is within a zip file
        return []
    return [(Path(file).name, hashlib.sha256(content).hexdigest())]


def _models() -> list[tuple[str, str]]:
    """Return the models that `classifier.classify` has loaded, also if only the user's module called it."""
    loaded = getattr(sys.modules.get(f"{_OWN}.classify"), "loaded", None)
    return sorted(loaded().items()) if loaded else []
