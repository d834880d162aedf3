"""Locks a file of results, so that only one `consumer submit` writes it at a time.

Two runs would write over each other's results, and receive each other's replies. The lock is a file beside the
results, `FILE.lock`. The kernel releases it when the process ends, also after a kill, so a file left behind is
harmless.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from consumer.errors import ConfigurationError, TryLaterError


def path_for(results: Path) -> Path:
    """Return the lock file beside a file of results. All links to a file share its lock."""
    results = results.resolve()
    return results.with_name(f"{results.name}.lock")


@contextmanager
def alone(results: Path) -> Iterator[None]:
    """Lock the results during the block.

    Raises:
        TryLaterError: another run writes them.
        ConfigurationError: the lock file cannot be written.
    """
    path = path_for(results)
    try:
        lock = _locked(path)
    except BlockingIOError:
        raise TryLaterError(
            f"another `consumer submit` writes {results} now; wait until it has ended, or pass another --out"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        with suppress(OSError):  # a folder that has become read-only
            path.unlink()
        os.close(lock)


def _locked(path: Path) -> int:
    """Open and lock the file; again if the last owner has removed it in between."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, lock):
                return lock
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)


def _is_at(path: Path, lock: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(lock))
    except FileNotFoundError:
        return False
