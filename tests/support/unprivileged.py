"""A user whom permissions stop, although tests may run as root."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def unprivileged_folder() -> Iterator[Path]:
    """Give a new folder, as a user whom permissions stop: root's own tests would pass whatever the modes are."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        folder = Path(tempfile.mkdtemp())
        try:
            yield folder
        finally:
            folder.chmod(0o700)
            shutil.rmtree(folder)
    finally:
        if is_root:
            os.seteuid(0)
