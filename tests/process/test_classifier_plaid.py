"""Real signals: the default classifier on UCR's PLAID. The data are not ours to ship: skipped without them."""

from __future__ import annotations

import json

import pytest
from support import plaid as plaid_data

from classifier.signals import datasets
from classifier.signals.datasets import DataSet
from classifier.signals.features import extract_all
from classifier.training import conversion, train


@pytest.fixture(scope="module")
def plaid() -> tuple[DataSet, DataSet]:
    plaid_data.require()
    return datasets.read(plaid_data.TRAIN), datasets.read(plaid_data.TEST)


def test_plaid_is_read_whole(plaid: tuple[DataSet, DataSet]) -> None:
    training, test = plaid
    assert (len(training), len(test)) == (537, 537)
    assert training.classes == [str(number) for number in range(11)]
    assert (training + test).lengths == (100, 1344)


def test_the_default_split_is_classified_with_an_accuracy_of_090_or_better(
    plaid: tuple[DataSet, DataSet],
) -> None:
    training, test = plaid
    assert train.evaluate(train.fit(training), test).accuracy >= 0.90


def test_the_mean_of_five_reshuffles_is_092_or_better(plaid: tuple[DataSet, DataSet]) -> None:
    accuracies = train.reshuffles(*plaid, 5)
    assert sum(accuracies) / 5 >= 0.92, json.dumps(accuracies)


def test_onnx_gives_every_test_signal_the_same_label(plaid: tuple[DataSet, DataSet]) -> None:
    training, test = plaid
    # A label that differs would raise.
    converted = conversion.convert(train.fit(training).estimator, extract_all(test.signals))
    assert converted.difference < 1e-5
