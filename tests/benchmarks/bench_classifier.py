"""What the classifier takes without any service, against bounds that fail the benchmark, and how good it is.

The bounds are far above what is usual, so that a neighbour's load does not break them.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import mean, median

from support import plaid

from classifier.classify import classify
from classifier.signals import datasets
from classifier.training import train

pytest_plugins = ["shared_fixtures"]

TRAINING_BOUND_S = 10.0
PREDICTION_BOUND_S = 0.025
PREDICTIONS = 200
RESHUFFLES = 5
ACCURACY_BOUND = 0.92


def test_training_on_plaid_takes_less_than_10_s() -> None:
    plaid.require()
    data = datasets.read(plaid.TRAIN)
    begun = time.perf_counter()
    train.fit(data)
    taken_s = time.perf_counter() - begun
    print(f"\ntraining on PLAID, {len(data)} signals, features and fit: {taken_s:.2f} s")
    assert taken_s < TRAINING_BOUND_S


def test_accuracy_on_reshuffled_plaid() -> None:
    plaid.require()
    accuracies = train.reshuffles(datasets.read(plaid.TRAIN), datasets.read(plaid.TEST), RESHUFFLES)
    print(f"\naccuracy on PLAID, mean of {RESHUFFLES} stratified reshuffles: {mean(accuracies):.4f}")
    assert mean(accuracies) >= ACCURACY_BOUND


def test_one_prediction_with_the_model_loaded_takes_less_than_25_ms(models: Path) -> None:
    taken_s = []
    for signal in datasets.read(plaid.TEST).signals[:PREDICTIONS]:
        job = {"signal": signal.tolist()}
        begun = time.perf_counter()
        classify(job, models)
        taken_s.append(time.perf_counter() - begun)
    by = "ONNX" if any(models.glob("*.onnx.model")) else "pickle"
    print(f"\none prediction on PLAID from {by}, median of {len(taken_s)}: {median(taken_s) * 1000:.1f} ms")
    assert median(taken_s) < PREDICTION_BOUND_S
