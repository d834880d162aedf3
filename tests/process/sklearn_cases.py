"""Classifiers whose libraries start threads or processes: what a fork at the wrong moment would hang.

`module:function` is imported by the fork server; nothing is computed then. That would be wrong is shown by
sklearn_computes_first.py.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from sklearn.ensemble import BaggingClassifier, HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

POINTS = np.random.default_rng(0).normal(size=(2000, 8))
LABELS = (POINTS[:, 0] > 0).astype(int)


@cache
def boosting() -> HistGradientBoostingClassifier:
    """Gradient boosting by OpenMP threads, fitted and predicting."""
    return HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(POINTS, LABELS)


@cache
def bagging() -> Pipeline:
    """A pipeline whose last step predicts in two processes of joblib's."""
    return make_pipeline(StandardScaler(), BaggingClassifier(n_estimators=4, n_jobs=2, random_state=0)).fit(
        POINTS, LABELS
    )


def by_openmp(_: dict[str, Any]) -> float:
    return float((boosting().predict(POINTS) == LABELS).mean())


def by_joblib(_: dict[str, Any]) -> float:
    return float((bagging().predict(POINTS) == LABELS).mean())
