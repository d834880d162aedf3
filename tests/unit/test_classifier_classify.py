"""Choosing a model by name, and answering with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier import classify
from classifier.contract import JobError
from classifier.models import estimators, model, trust
from classifier.models.estimator import Probabilities
from classifier.models.folder import choose, every
from classifier.models.model import ModelError, Training
from classifier.signals.features import Features, extract
from classifier.signals.signals import Signal


class Sure:
    """An estimator that calls everything by one class."""

    def __init__(self, column: int) -> None:
        self.column = column

    def predict_proba(self, features: Features, /) -> Probabilities:
        return np.tile(np.eye(2)[self.column], (len(features), 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A models folder with `first`, which says a, and `second`, which says b."""
    for column, name in enumerate(("first", "second")):
        origin = Training(signals=1, lengths=(1, 1), sha256="", metrics={})
        path = tmp_path / "models" / f"{name}.model"
        estimators.save(path, Sure(column), ("a", "b"), origin, trust.pins_of(path.parent))
    return tmp_path / "models"


def test_a_job_chooses_its_model_by_name(folder: Path) -> None:
    answer = classify.classify({"signal": [1, 2], "model": "second"}, folder)
    assert (answer["label"], answer["model"]) == ("b", "second")
    assert answer["probabilities"] == {"a": 0.0, "b": 1.0}
    assert answer["model_sha256"] == model.read_manifest(folder / "second.model").sha256


def test_further_keys_of_a_job_are_ignored(folder: Path) -> None:
    assert classify.classify({"signal": [1], "model": "first", "expected": 3, "id": None}, folder)["label"] == "a"


def test_a_batch_gets_the_answers_of_its_signals(folder: Path) -> None:
    one = classify.classify({"signal": [1.0], "model": "first"}, folder)
    assert classify.classify_all([np.ones(1)] * 2, folder, "first") == [one, one]


def test_jobs_at_once_get_the_answers_of_single_ones_whatever_their_models(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUMER_MODELS_DIR", str(folder))
    jobs = [{"signal": [1, 2], "model": name} for name in ("second", "first", "second", "first")]
    assert classify.classify_jobs(jobs) == [classify.classify(job) for job in jobs]


def test_a_bad_job_among_others_gets_its_error_and_they_their_answers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUMER_MODELS_DIR", str(folder))
    bad: tuple[dict[str, Any], ...] = (
        {"signal": []},
        {"signal": [1], "model": "third"},
        {"signal": [1, None], "model": "first"},
    )
    one, *errors, two = classify.classify_jobs(
        [{"signal": [1], "model": "first"}, *bad, {"signal": [3], "model": "first"}]
    )
    assert one == two == classify.classify({"signal": [1], "model": "first"}, folder)
    assert [type(error) for error in errors] == [JobError] * 3
    assert "there is no model 'third'" in str(errors[1])


def test_a_model_that_is_asked_by_many_jobs_is_asked_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMER_MODELS_DIR", str(folder))
    asked = []
    real = Sure.predict_proba

    def counted(self: Sure, features: Features) -> Probabilities:
        asked.append((self.column, len(features)))
        return real(self, features)

    monkeypatch.setattr(Sure, "predict_proba", counted)
    classify.classify_jobs([{"signal": [n], "model": ("first", "second")[n % 2]} for n in range(1, 6)])
    assert sorted(asked) == [(0, 2), (1, 3)]


def test_a_model_is_loaded_once(folder: Path) -> None:
    classify.classify({"signal": [1], "model": "first"}, folder)
    (folder / "first.model").write_bytes(b"garbage")
    assert classify.classify({"signal": [1], "model": "first"}, folder)["label"] == "a"


@pytest.mark.parametrize(
    "name", ["../first", "/first", "a/b", "..", ".first", "", "first\n", "x" * 65, "first\0", 1, ["first"], True]
)
def test_what_is_not_a_name_is_refused(folder: Path, name: object) -> None:
    with pytest.raises(JobError, match="must be a model's name"):
        classify.classify({"signal": [1], "model": name}, folder)


def test_an_unknown_name_is_refused_with_the_choices(folder: Path) -> None:
    with pytest.raises(JobError, match="no model 'third': available: first, second"):
        classify.classify({"signal": [1], "model": "third"}, folder)


def test_files_whose_name_no_job_could_give_are_not_models(folder: Path) -> None:
    for name in (".hidden.model", "a b.model"):
        (folder / name).write_bytes(b"garbage")
    with pytest.raises(JobError, match=r"name the model: available: first, second$"):
        classify.classify({"signal": [1]}, folder)


def test_the_default_model_is_the_one_of_that_name_or_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUMER_MODELS_DIR", str(tmp_path))
    for name, expected in (("first", "first"), ("second", None), ("default", "default")):
        (tmp_path / f"{name}.model").touch()
        assert classify.default_model() == expected


def test_the_signal_is_checked_before_the_model(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="signal is empty"):
        classify.classify({"signal": []}, tmp_path / "nowhere")


def test_an_empty_folder_says_how_to_make_a_model(tmp_path: Path) -> None:
    with pytest.raises(
        JobError, match="make one with `classifier train`, set CONSUMER_MODELS_DIR, or load a model of your own"
    ):
        classify.classify({"signal": [1]}, tmp_path)


def test_preloading_loads_every_model_and_fails_on_a_bad_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUMER_MODELS_DIR", str(folder))
    assert classify.preload() == ["first", "second"]
    (folder / "third.model").write_bytes(b"garbage")
    with pytest.raises(ModelError, match=r"third\.model is not trusted"):
        classify.preload()


def test_preloading_tells_of_every_model_that_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMER_MODELS_DIR", str(folder))
    for name in ("fourth", "third"):
        (folder / f"{name}.model").write_bytes(b"garbage")
    (folder / "second.model").write_bytes(b"garbage")
    with pytest.raises(ModelError) as refused:
        classify.preload()
    assert [line.split(",")[0] for line in str(refused.value).splitlines()] == [
        f"{folder}/fourth.model is not trusted",
        f"{folder}/second.model was altered or exchanged",
        f"{folder}/third.model is not trusted",
    ]


def test_preloading_says_what_it_loads(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONSUMER_MODELS_DIR", str(folder))
    classify.preload()
    assert capsys.readouterr().err == f"loading {folder}/first.model\nloading {folder}/second.model\n"


def test_a_model_that_is_a_link_out_of_the_folder_is_not_served(folder: Path) -> None:
    (folder / "second.model").rename(folder.parent / "second.model")
    (folder / "second.model").symlink_to("../second.model")
    with pytest.raises(ModelError, match=r"second\.model leads out of its folder"):
        classify.classify({"signal": [1], "model": "second"}, folder)


def test_after_preloading_the_models_are_what_they_were(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMER_MODELS_DIR", str(folder))
    classify.preload()
    content = (folder / "second.model").read_bytes()
    (folder / "second.model").rename(folder / "third.model")
    trust.trust(folder / "third.model", content, trust.pins_of(folder))
    assert classify.classify({"signal": [1], "model": "second"})["label"] == "b"
    with pytest.raises(JobError, match="there is no model 'third': available: first, second"):
        classify.classify({"signal": [1], "model": "third"})
    assert classify.preload() == ["first", "third"]


def test_an_onnx_is_chosen_over_the_pickle_and_needs_none_beside_it(folder: Path) -> None:
    (folder / "second.onnx.model").write_bytes((folder / "second.model").read_bytes())
    (folder / "second.skops.model").write_bytes((folder / "second.model").read_bytes())
    (folder / "third.onnx.model").write_bytes((folder / "first.model").read_bytes())
    assert choose(folder, "first") == folder / "first.model"
    assert choose(folder, "second") == folder / "second.onnx.model"
    assert choose(folder, "third") == folder / "third.onnx.model"
    assert [path.name for path in every(folder)] == ["first.model", "second.onnx.model", "third.onnx.model"]
    (folder / "second.onnx.model").unlink()
    assert choose(folder, "second") == folder / "second.skops.model"
    with pytest.raises(JobError, match=r"available: first, second, third$"):
        choose(folder)


def test_preloading_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUMER_MODELS_DIR", str(tmp_path))
    with pytest.raises(ModelError, match="no models in"):
        classify.preload()


def test_a_warm_up_computes_twice_with_every_loaded_model_and_a_signal_of_its_length(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []

    def noted(signal: Signal) -> Features:
        lengths.append(len(signal))
        return extract(signal)

    monkeypatch.setattr(classify, "extract", noted)
    monkeypatch.setattr(classify, "_models", {path: estimators.load(path) for path in every(folder)})
    classify.warm_up()
    assert lengths == [1, 1, 1, 1]
