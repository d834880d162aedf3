"""Decides which model files may be loaded: those whose SHA-256 is pinned, under their name, in a separate file.

Unpickling runs code, so a model file cannot vouch for itself. The pins lie outside of the models folder, and the
user who writes models need not be able to write pins. The digest covers the whole file, manifest included, and is
computed from the very bytes that are then parsed and loaded. A file that is not pinned is not parsed, whatever its
kind.

The lines have the format of sha256sum(1): `cd models && sha256sum --check ../models.trusted` verifies them, too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from classifier.models import whole_file
from classifier.models.model import ModelError

VARIABLE: Final = "CONSUMER_TRUSTED_MODELS"
SUFFIX: Final = ".trusted"

_PIN: Final = re.compile(r"([0-9a-f]{64}) [ *]([^/\s]+)")


def pins_of(folder: Path, given: Path | None = None) -> Path:
    """Return the pin file of the models in `folder`: `given`, else CONSUMER_TRUSTED_MODELS, else FOLDER.trusted.

    Raises:
        ModelError: the pin file is in the models folder.
    """
    pins = Path(given or os.environ.get(VARIABLE) or _beside(folder)).absolute()
    _check_apart(pins, folder)
    return pins


def check(path: Path, content: bytes) -> None:
    """Check that `content`, which was read from `path`, is pinned under the name of the file.

    Raises:
        ModelError: the content is not pinned (the message has its SHA-256), or the pins cannot be read.
    """
    pins = pins_of(path.parent)
    pinned, found = _pinned(pins, path.name), hashlib.sha256(content).hexdigest()
    if found in pinned:
        return
    if pinned:
        raise ModelError(
            f"{path} was altered or exchanged, so it was not loaded: its SHA-256 is {found}, and {pins} says "
            f"{' or '.join(pinned)}; restore it, or once you know who made this one, run {_remedy(path, pins)}"
        )
    raise ModelError(
        f"{path} is not trusted, so it was not loaded: {_no_pin(pins)} for its SHA-256, {found}; "
        f"once you know who made it, run {_remedy(path, pins)}"
    )


def trust(path: Path, content: bytes, pins: Path) -> str:
    """Pin the SHA-256 of `content` for the file `path`, in place of an older pin of that name; return the SHA-256.

    Raises:
        ModelError: the pins cannot be read or written.
    """
    digest = hashlib.sha256(content).hexdigest()
    _change(pins, forgotten=[path.name], added=[f"{digest}  {path.name}"])
    return digest


def forget(names: Collection[str], pins: Path) -> None:
    """Remove all pins under these names. Raises as `trust`."""
    if any(_pinned(pins, name) for name in names):
        _change(pins, forgotten=names)


@contextmanager
def replacing(path: Path, content: bytes, pins: Path) -> Iterator[None]:
    """Trust the old and the new content of `path` during the block, and only the new one afterwards.

    So no job fails while the file is replaced, even if each job loads the model anew. Raises as `trust`.
    """
    _change(pins, added=[f"{hashlib.sha256(content).hexdigest()}  {path.name}"])
    yield
    trust(path, content, pins)


def is_writable(pins: Path) -> bool:
    """Return whether this process can probably write to the pin file.

    Raises:
        ModelError: the pin file cannot be read.
    """
    _lines(pins)
    folder = Path(os.path.realpath(pins)).parent
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)


def _beside(folder: Path) -> str:
    # A link's own name, not its target's, so that all targets of the link have one pin file.
    return os.path.abspath(folder) + SUFFIX  # noqa: PTH100 - Path.absolute leaves `..` at the end


def _check_apart(pins: Path, folder: Path) -> None:
    if Path(os.path.realpath(pins)).is_relative_to(os.path.realpath(folder)):
        raise ModelError(
            f"{pins} is in the models folder, where every user who may write a model could also pin it: "
            f"move it elsewhere, and set {VARIABLE}"
        )


def _no_pin(pins: Path) -> str:
    return f"{pins} has no pin" if pins.exists() else f"there is no {pins}, so no pin"


def _remedy(path: Path, pins: Path) -> str:
    """Return the command with all options, because its reader may not have the service's environment."""
    elsewhere = [] if str(pins) == _beside(path.parent) else ["--pins", str(pins)]
    return f"`{shlex.join(['classifier', 'trust', str(path), *elsewhere])}`"


def _pinned(pins: Path, name: str) -> list[str]:
    """Return the digests that are trusted under this name: one, or several while a file is being replaced."""
    found = (_PIN.fullmatch(line) for line in _lines(pins))
    return [pin[1] for pin in found if pin and pin[2] == name]


def _lines(pins: Path) -> list[str]:
    try:
        lines = pins.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as unreadable:
        raise ModelError(f"cannot read the pins of trusted models, {pins}: {unreadable.strerror}") from None
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#") and not _PIN.fullmatch(line):
            raise ModelError(
                f"line {number} of {pins} is not a pin: remove it, or replace it by the output of "
                "`sha256sum NAME.model` in the models folder"
            )
    return lines


def _change(pins: Path, *, forgotten: Collection[str] = (), added: Collection[str] = ()) -> None:
    """Replace the pin file, but keep all its other lines: comments may explain who trusted which file."""
    pins = Path(os.path.realpath(pins))  # if it is a link, its target is replaced
    try:
        pins.parent.mkdir(parents=True, exist_ok=True)
        with _locked(pins.parent):
            kept = [line for line in _lines(pins) if line not in added and not _is_of(line, forgotten)]
            whole_file.write(pins, "".join(f"{line}\n" for line in [*kept, *added]).encode())
    except OSError as unwritable:
        raise ModelError(f"cannot write the pins of trusted models, {pins}: {unwritable.strerror}") from None


def _is_of(line: str, names: Collection[str]) -> bool:
    pin = _PIN.fullmatch(line)
    return pin is not None and pin[2] in names


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Allow one writer at a time. On a file system without locks, one of two writers may lose a pin."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
