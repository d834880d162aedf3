"""Writes classifiers in shell into the folder of a test."""

from __future__ import annotations

import json
from pathlib import Path

#: A classifier that adds a line to the file `runs`, logs `begun`, waits for the file `go`, and returns the job.
HELD = (
    'echo run >>"${0%/*}/runs"',
    'echo "LOG: begun"',
    'while [ ! -e "${0%/*}/go" ]; do sleep 0.02; done',
    "printf 'OUTPUT: '; cat \"$1\"; echo",
)


def script(folder: Path, *lines: str, name: str = "classify.sh") -> str:
    """Write a shell classifier; return it as the setting `command`. `$1` is the job's file."""
    path = folder / name
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return json.dumps([str(path)])
