"""Classifiers in shell: programs that a test writes into its folder, line by line."""

from __future__ import annotations

import json
from pathlib import Path

#: A classifier: leaves a line for each run, says that it runs, waits for the test's go; the job is the answer.
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
