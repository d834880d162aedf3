"""The function of the small workload, which every contender imports as `logistic:classify` or `:classify_one`.

300 points, scaled, logistic regression, from a pickle. The model is loaded at the import, as a careful user of
any of the contenders would do it: whoever forks afterwards shares it.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from inside import LOGISTIC_MODEL, LOGISTIC_POINTS

from classifier.contract import batch_of

model: Any = pickle.loads(  # noqa: S301 - made by the benchmark a moment ago
    (Path(os.environ["CONSUMER_MODELS_DIR"]) / LOGISTIC_MODEL).read_bytes()
)
classes: list[str] = model.classes_.tolist()


def classify(job: dict[str, Any]) -> dict[str, object]:
    """The answer to one job: the label, and the probability of each class."""
    return classify_all([job])[0]


def warm_up() -> None:
    """What docs/classifiers.md advises. Only ours calls it; the others' processes are long-lived."""
    for _ in range(2):
        classify({"signal": [0.0] * LOGISTIC_POINTS})


def classify_one(job: dict[str, Any]) -> dict[str, object]:
    """The same without a form for many: it gets one call per job."""
    return classify_all([job])[0]


@batch_of(classify)
def classify_all(jobs: list[dict[str, Any]]) -> list[dict[str, object]]:
    """The answers to several jobs, for who can hand over several at once."""
    rows = model.predict_proba(np.array([job["signal"] for job in jobs]))
    return [
        {"label": classes[int(row.argmax())], "probabilities": dict(zip(classes, row.tolist(), strict=True))}
        for row in rows
    ]
