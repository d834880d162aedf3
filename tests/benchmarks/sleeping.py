"""A function that takes as long as its job says, and no processor: of bench_plan.py and fairness.py."""

from __future__ import annotations

import os
import time
from typing import Any


def classify(job: dict[str, Any]) -> dict[str, float]:
    """Sleep for `sleep_s` seconds; tell when, by the machine's monotonic clock, and in which process."""
    began_s = time.perf_counter()
    time.sleep(job["sleep_s"])
    return {"began_s": began_s, "ended_s": time.perf_counter(), "worker": os.getpid()}
