"""The function of bench_plan.py: it takes as long as its job says, and no processor. Standard library only."""

from __future__ import annotations

import time
from typing import Any


def classify(job: dict[str, Any]) -> dict[str, float]:
    """Sleep for `sleep_s` seconds."""
    time.sleep(job["sleep_s"])
    return {"slept_s": job["sleep_s"]}
