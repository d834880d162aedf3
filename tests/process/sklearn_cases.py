"""A classifier whose library starts threads: what a fork at the wrong moment would hang.

`module:function` is imported by the fork server; nothing is computed then. That would be wrong is shown by
sklearn_computes_first.py.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

POINTS = np.random.default_rng(0).normal(size=(2000, 8))
LABELS = (POINTS[:, 0] > 0).astype(int)


@cache
def boosting() -> HistGradientBoostingClassifier:
    """Gradient boosting by OpenMP threads, fitted and predicting."""
    return HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(POINTS, LABELS)


def by_openmp(_: dict[str, Any]) -> float:
    return float((boosting().predict(POINTS) == LABELS).mean())
