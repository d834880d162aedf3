"""Fits a classifier and evaluates it. No printing, no files.

The estimator is a forest of extremely randomised trees (Geurts, Ernst and Wehenkel 2006). It needs no scaling,
handles unbalanced classes and useless features, and has no setting that must be tuned per data set. An evaluation
always uses signals that were not trained on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import classification_report, confusion_matrix, recall_score
from sklearn.model_selection import StratifiedShuffleSplit

from classifier.models.estimator import Estimator
from classifier.signals.datasets import DataError, DataSet, in_order
from classifier.signals.features import Features, extract_all

HOLD_OUT: Final = 0.25
SEED: Final = 0

_TREES: Final = 100
# Each split considers a fifth of the features. The usual number, the square root, would be only a twentieth. Few
# of the many features distinguish a given class, and with fewer choices most splits would consider none of these.
_FEATURES_PER_SPLIT: Final = 0.2

Labels: TypeAlias = NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A fitted estimator, the classes in the order of its probabilities, and the durations in seconds."""

    estimator: Estimator
    classes: tuple[str, ...]
    feature_s: float
    fit_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The figures of an estimator on signals that it was not trained on.

    `confusion[i, j]` counts signals of class `classes[i]` that were predicted as `classes[j]`. Balanced accuracy
    is the mean recall of the classes that occur among the tested signals. `table` is scikit-learn's, for people:
    precision (the share of right predictions of the class), recall and support of each class.
    """

    classes: tuple[str, ...]
    accuracy: float
    balanced_accuracy: float
    confusion: NDArray[np.int64]
    table: str


def fit(data: DataSet) -> Fitted:
    """Fit an estimator on all of `data`; the same data give the same estimator.

    Raises:
        DataError: `data` has only one class.
    """
    if len(data.classes) < 2:  # noqa: PLR2004 - one class needs no classifier
        raise DataError(f"all signals have the label {data.labels[0]!r}: give signals of at least two classes")
    started = time.perf_counter()
    features = extract_all(data.signals)
    extracted = time.perf_counter()
    estimator = _fitted(features, np.array(data.labels))
    finished = time.perf_counter()
    classes = tuple(str(name) for name in estimator.classes_)
    return Fitted(estimator, classes, extracted - started, finished - extracted)


def evaluate(fitted: Fitted, data: DataSet) -> Evaluation:
    """Evaluate `fitted` on `data`, which must not be its training data."""
    probabilities = fitted.estimator.predict_proba(extract_all(data.signals))
    called = np.array(fitted.classes)[probabilities.argmax(axis=1)]
    # The classes of both: a test signal of a class that was not trained counts, and its prediction is always
    # wrong.
    classes = in_order({*fitted.classes, *data.labels})
    truth = np.array(data.labels)
    return Evaluation(
        classes=tuple(classes),
        accuracy=float((called == truth).mean()),
        balanced_accuracy=float(recall_score(truth, called, labels=data.classes, average="macro")),
        confusion=np.asarray(confusion_matrix(truth, called, labels=classes), dtype=np.int64),
        table=classification_report(truth, called, labels=classes, digits=3, zero_division=0.0),
    )


def hold_out(data: DataSet) -> tuple[DataSet, DataSet]:
    """Divide `data` into three quarters to train on and one to test on, class by class.

    Raises:
        DataError: a class is too small for that.
    """
    ((train, test),) = _splits(data, 1, HOLD_OUT)
    return data.subset(train), data.subset(test)


def reshuffles(train: DataSet, test: DataSet, times: int) -> list[float]:
    """Fit and test `times` times, each time on another random division of all signals; return the accuracies.

    The parts are as large as `train` and `test`.

    Raises:
        DataError: a class is too small for that.
    """
    together = train + test
    features, labels = extract_all(together.signals), np.array(together.labels)
    return [
        float((_fitted(features[some], labels[some]).predict(features[rest]) == labels[rest]).mean())
        for some, rest in _splits(together, times, len(test))
    ]


def _fitted(features: Features, labels: Labels) -> Any:  # noqa: ANN401 - scikit-learn ships no types
    # One thread: for a single signal, a handover to threads costs more than the trees, and a pool of processes
    # already has one for each CPU.
    forest = ExtraTreesClassifier(
        n_estimators=_TREES, max_features=_FEATURES_PER_SPLIT, random_state=SEED, n_jobs=1
    )
    return forest.fit(features, labels)


def _splits(data: DataSet, times: int, size: float) -> list[tuple[list[int], list[int]]]:
    splitter = StratifiedShuffleSplit(times, test_size=size, random_state=SEED)
    labels = np.array(data.labels)
    try:
        return [(some.tolist(), rest.tolist()) for some, rest in splitter.split(labels, labels)]
    except ValueError as too_small:
        if targets := _fractions(data.labels):
            example = f"labels such as {targets[0]} are numbers, not classes, as for a regression"
            raise DataError(f"{example}: give each signal a class, such as low or high") from None
        raise DataError(f"cannot divide the signals class by class: {too_small}; give --test a file") from None


def _fractions(labels: Sequence[str]) -> list[str]:
    """Return the labels that are fractions if most are, else an empty list."""
    found = [label for label in labels if re.fullmatch(r"[+-]?\d*[.,]\d*[1-9]\d*([eE][+-]?\d+)?", label)]
    return found if 2 * len(found) > len(labels) else []
