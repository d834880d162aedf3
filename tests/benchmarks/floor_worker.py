"""A worker of the floor: for each path on stdin, one line `OUTPUT: json` on stdout."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from inside import resolve

function = resolve()
for path in sys.stdin:
    job = json.loads(Path(path.rstrip("\n")).read_bytes())
    print("OUTPUT: " + json.dumps(function(job)), flush=True)
