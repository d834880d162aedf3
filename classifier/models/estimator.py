"""The interface of a fitted classifier: all that the service asks of a model, whatever library has made it."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from classifier.signals.features import Features

#: Shape (rows, classes).
Probabilities: TypeAlias = NDArray[np.float64]


class Estimator(Protocol):
    """The interface of a fitted scikit-learn classifier."""

    def predict_proba(self, features: Features, /) -> Probabilities:
        """Return a row for each row of `features`, with a column for each class; each row sums to 1."""
