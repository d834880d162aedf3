"""Fitting, honest figures, and how they read."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.models.estimator import Probabilities
from classifier.signals import machines
from classifier.signals.datasets import DataError, DataSet
from classifier.signals.features import Features, extract_all
from classifier.training import report, train


class Parrot:
    """Calls everything by the first class."""

    def predict_proba(self, features: Features, /) -> Probabilities:
        return np.tile([1.0, 0.0], (len(features), 1))


def labelled(*labels: str) -> DataSet:
    return DataSet(tuple(np.arange(float(3 + at)) for at in range(len(labels))), labels)


@pytest.fixture
def evaluation() -> train.Evaluation:
    fitted = train.Fitted(Parrot(), ("a", "b"), 0.0, 0.0)
    return train.evaluate(fitted, labelled("a", "a", "a", "b", "never_trained"))


def test_the_same_data_give_the_same_predictions() -> None:
    data = machines.generate(4)
    features = extract_all(data.signals)
    one, other = train.fit(data), train.fit(data)
    assert np.array_equal(one.estimator.predict_proba(features), other.estimator.predict_proba(features))
    assert one.classes == tuple(sorted(machines.STATES))


def test_the_default_classifier_tells_generated_states_apart_but_not_always() -> None:
    some, rest = train.hold_out(machines.generate(60))
    assert 0.85 <= train.evaluate(train.fit(some), rest).accuracy < 1.0


def test_figures_count_a_class_that_was_never_trained(evaluation: train.Evaluation) -> None:
    assert evaluation.classes == ("a", "b", "never_trained")
    assert evaluation.accuracy == pytest.approx(3 / 5)
    assert evaluation.balanced_accuracy == pytest.approx(1 / 3)
    assert evaluation.confusion.tolist() == [[3, 0, 0], [1, 0, 0], [1, 0, 0]]


def test_the_report_shows_the_matrix_with_names_and_dots_for_zeros(evaluation: train.Evaluation) -> None:
    lines = report.evaluation_lines(evaluation)
    assert lines[0] == "accuracy            0.6000"
    assert lines[4:8] == [
        "                   1  2  3",
        " 1  a              3  .  .",
        " 2  b              1  .  .",
        " 3  never_trained  1  .  .",
    ]
    assert ["a", "0.600", "1.000", "0.750", "3"] in [line.split() for line in lines]


def test_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="all signals have the label 'a': give signals of at least two classes"):
        train.fit(labelled("a", "a"))


def test_a_hold_out_keeps_every_signal_and_the_shares_of_classes() -> None:
    data = labelled(*"a" * 12, *"b" * 4)
    some, rest = train.hold_out(data)
    assert (some.labels.count("a"), some.labels.count("b")) == (9, 3)
    assert (rest.labels.count("a"), rest.labels.count("b")) == (3, 1)
    assert {signal.size for signal in (some + rest).signals} == {signal.size for signal in data.signals}


def test_classes_too_small_to_divide_are_refused_with_the_remedy() -> None:
    with pytest.raises(DataError, match=r"labels such as 0.37 are numbers, not classes, as for a regression"):
        train.hold_out(labelled("0.37", "0.74", "1.11", "1.48"))
    with pytest.raises(DataError, match=r"class by class: .*; give --test a file"):
        train.hold_out(labelled("a", "a", "a", "b"))


def test_reshuffles_give_as_many_accuracies_and_differ() -> None:
    some, rest = train.hold_out(machines.generate(8))
    accuracies = train.reshuffles(some, rest, 3)
    assert len(accuracies) == 3
    assert all(0.5 < accuracy <= 1.0 for accuracy in accuracies)
    assert report.reshuffle_lines([0.9, 0.8])[1] == "mean of 2           0.8500"
