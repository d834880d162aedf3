"""A classifier that computes in two processes of joblib's, as scikit-learn's estimators do with n_jobs=2.

Not by one of those: each process would then import scikit-learn anew, which costs 1.2 s.
"""

from __future__ import annotations

import math
import os
from typing import Any

import joblib


def root_of(number: int) -> tuple[float, int]:
    """The square root, and the process that found it."""
    return math.sqrt(number), os.getpid()


def by_joblib(_: dict[str, Any]) -> float:
    """The part of ten roots that is right; 0 where no process of joblib's found them."""
    found: list[tuple[float, int]] = joblib.Parallel(n_jobs=2)(
        joblib.delayed(root_of)(number) for number in range(10)
    )
    if os.getpid() in {process for _, process in found}:
        return 0
    return sum(root == math.sqrt(number) for number, (root, _) in enumerate(found)) / 10
