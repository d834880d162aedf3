"""The three kinds of model: each loads by its kind, and what cannot be used says what to do."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx import helper as onnx_helper
from onnx.external_data_helper import set_external_data
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from skops.io import dumps as skops_dumps

from classifier.models import estimators, model, skops_file, trust, whole_file
from classifier.models.estimator import Probabilities
from classifier.models.model import Manifest, ModelError, Training
from classifier.signals.features import FEATURE_NAMES, Features
from classifier.training import conversion
from classifier.training.conversion import ConversionError

ORIGIN = Training(signals=3, lengths=(2, 9), sha256="ab", metrics={"accuracy": 0.5})
RANDOM = np.random.default_rng(0)
FEATURES: Features = RANDOM.normal(size=(60, len(FEATURE_NAMES))).astype(np.float32)
LABELS = np.where(FEATURES[:, 0] > 0.0, "a", "b")


class Half:
    """An estimator that is never sure, of a kind that nobody converts."""

    def predict_proba(self, features: Features, /) -> Probabilities:
        return np.full((len(features), 2), 0.5)


def fitted(trees: int = 10) -> Any:  # noqa: ANN401 - scikit-learn ships no types
    return ExtraTreesClassifier(trees, random_state=0).fit(FEATURES, LABELS)


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    path = tmp_path / "forest.model"
    estimators.save(path, fitted(), ("a", "b"), ORIGIN, trust.pins_of(tmp_path))
    return path


@pytest.fixture
def onnx(pickled: Path) -> Path:
    path = model.beside(pickled, model.ONNX_SUFFIX)
    converted = conversion.convert(fitted(), FEATURES)
    pins = trust.pins_of(path.parent)
    estimators.save_form(path, estimators.ONNX, converted.body, model.read_manifest(pickled), pins)
    return path


@pytest.fixture
def skops(pickled: Path) -> Path:
    path, body = model.beside(pickled, model.SKOPS_SUFFIX), skops_file.proven(fitted(), FEATURES)
    pins = trust.pins_of(path.parent)
    estimators.save_form(path, estimators.SKOPS, body, model.read_manifest(pickled), pins)
    return path


def rewrite(path: Path, body: bytes | None = None, **changes: object) -> None:
    """Change the manifest, and the body with its digest where one is given, and trust the result."""
    manifest, old = model.parse(path, model.content_of(path))
    if body is not None:
        new = model.describe(manifest.kind, body, manifest.classes, manifest.training, manifest.versions)
        manifest = replace(manifest, sha256=new.sha256, size=new.size)
    changed: Manifest = replace(manifest, **changes)  # type: ignore[arg-type] # as a test names them
    put(path, model.compose(changed, old if body is None else body))


def put(path: Path, content: bytes) -> None:
    with trust.replacing(path, content, trust.pins_of(path.parent)):
        whole_file.write(path, content)


def test_a_pickle_loads_and_is_named_after_its_file(pickled: Path) -> None:
    loaded = estimators.load(pickled)
    assert (loaded.name, loaded.manifest.kind, loaded.manifest.classes) == ("forest", "pickle", ("a", "b"))
    assert np.array_equal(loaded.estimator.predict_proba(FEATURES), fitted().predict_proba(FEATURES))


def test_the_onnx_has_the_same_name_and_says_the_same(pickled: Path, onnx: Path) -> None:
    loaded = estimators.load(onnx)
    assert (loaded.name, loaded.manifest.kind, loaded.manifest.classes) == ("forest", "onnx", ("a", "b"))
    assert loaded.manifest.converted_from == model.read_manifest(pickled).sha256
    assert loaded.manifest.training == ORIGIN
    probabilities = loaded.estimator.predict_proba(FEATURES)
    assert probabilities.dtype == np.float64
    assert probabilities == pytest.approx(fitted().predict_proba(FEATURES), abs=1e-6)
    assert np.array_equal(loaded.estimator.predict_proba(FEATURES[:1]), probabilities[:1])


def test_the_kind_decides_and_not_the_name_of_the_file(pickled: Path, onnx: Path) -> None:
    put(pickled, onnx.read_bytes())
    onnx.unlink()
    assert estimators.load(pickled).manifest.kind == "onnx"


def test_an_onnx_without_its_pickle_is_served(pickled: Path, onnx: Path) -> None:
    pickled.unlink()
    assert estimators.load(onnx).name == "forest"


def test_an_onnx_beside_a_pickle_that_it_was_not_made_from_is_refused(pickled: Path, onnx: Path) -> None:
    content = onnx.read_bytes()
    estimators.save(pickled, fitted(trees=3), ("a", "b"), ORIGIN)
    put(onnx, content)
    with pytest.raises(ModelError, match=r"was not made from .*forest\.model: train again with --onnx, or remove"):
        estimators.load(onnx)


def test_saving_a_pickle_removes_the_other_forms_of_the_older_one(pickled: Path, onnx: Path, skops: Path) -> None:
    estimators.save(pickled, fitted(), ("a", "b"), ORIGIN)
    assert not onnx.exists()
    assert not skops.exists()


def test_an_older_form_that_is_put_back_is_trusted_no_more(pickled: Path, onnx: Path) -> None:
    content = onnx.read_bytes()
    estimators.save(pickled, fitted(), ("a", "b"), ORIGIN, trust.pins_of(pickled.parent))
    pickled.unlink()
    onnx.write_bytes(content)
    with pytest.raises(ModelError, match="is not trusted, so it was not loaded"):
        estimators.load(onnx)


def test_a_model_saved_without_pins_is_not_loaded(tmp_path: Path) -> None:
    estimators.save(tmp_path / "new.model", fitted(), ("a", "b"), ORIGIN)
    with pytest.raises(ModelError, match=r"new\.model is not trusted, so it was not loaded"):
        estimators.load(tmp_path / "new.model")


def test_the_skops_has_the_same_name_and_says_the_very_same(pickled: Path, skops: Path) -> None:
    loaded = estimators.load(skops)
    assert (loaded.name, loaded.manifest.kind, loaded.manifest.classes) == ("forest", "skops", ("a", "b"))
    assert loaded.manifest.converted_from == model.read_manifest(pickled).sha256
    assert set(loaded.manifest.versions) == {"python", "numpy", "scikit-learn", "skops"}
    assert np.array_equal(loaded.estimator.predict_proba(FEATURES), fitted().predict_proba(FEATURES))


def test_every_altered_body_is_refused_whatever_its_kind(onnx: Path, skops: Path) -> None:
    for path in (onnx, skops):
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(content)
        with pytest.raises(ModelError, match="was altered or exchanged, so it was not loaded"):
            estimators.load(path)


def test_a_skops_of_other_types_is_an_error_that_names_them(skops: Path) -> None:
    rewrite(skops, skops_dumps(LogisticRegression().fit(FEATURES, LABELS)))
    with pytest.raises(
        ModelError, match=r"forest\.skops\.model holds types .*LogisticRegression \(as ObjectNode\)"
    ):
        estimators.load(skops)


def test_a_skops_without_the_library_is_an_error_with_the_remedy(
    skops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "classifier.models.skops_file")
    monkeypatch.delattr("classifier.models.skops_file")
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(ModelError, match=r"needs skops: pip install 'rabbitmq-classifier\[skops\]'"):
        estimators.load(skops)


def test_an_onnx_that_refers_to_another_file_is_refused(onnx: Path) -> None:
    weights = onnx_helper.make_tensor("w", TensorProto.FLOAT, [2], b"12345678", raw=True)
    set_external_data(weights, location="../secret")
    weights.ClearField("raw_data")
    nodes = [onnx_helper.make_node("Add", ["features", "w"], ["probabilities"])]
    ends = [
        onnx_helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])
        for name in (nodes[0].input[0], *nodes[0].output)
    ]
    graph = onnx_helper.make_graph(nodes, "g", ends[:1], ends[1:], [weights])
    made = onnx_helper.make_model(graph, opset_imports=[onnx_helper.make_opsetid("", 15)], ir_version=8)
    (onnx.parent.parent / "secret").write_bytes(b"12345678")
    rewrite(onnx, made.SerializeToString())
    with pytest.raises(ModelError, match="External data path"):
        estimators.load(onnx)


def test_another_version_of_scikit_learn_is_an_error_for_all_but_onnx(
    pickled: Path, onnx: Path, skops: Path
) -> None:
    for path in (pickled, onnx, skops):
        rewrite(path, versions={"scikit-learn": "0.24.2"})
    for path in (pickled, skops):
        with pytest.raises(
            ModelError, match=r"scikit-learn 0\.24\.2 .*: retrain it, or pip install scikit-learn==0"
        ):
            estimators.load(path)
    assert estimators.load(onnx).name == "forest"


def test_a_pickle_of_code_that_is_gone_is_an_error(pickled: Path) -> None:
    rewrite(pickled, b"cclassifier.gone\nEstimator\n.")
    with pytest.raises(ModelError, match="does not load"):
        estimators.load(pickled)


def test_an_onnx_that_the_runtime_cannot_use_is_an_error_with_the_remedy(onnx: Path) -> None:
    rewrite(onnx, b"no graph")
    with pytest.raises(ModelError, match=r"cannot use .*forest\.onnx\.model .*: convert it again"):
        estimators.load(onnx)


def test_an_onnx_without_the_runtime_is_an_error_with_the_remedy(
    onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"needs onnxruntime: pip install 'rabbitmq-classifier\[onnx\]'"):
        estimators.load(onnx)


def test_an_unknown_kind_is_an_error(pickled: Path) -> None:
    rewrite(pickled, kind="tea leaves")
    with pytest.raises(ModelError, match="of the kind 'tea leaves', which this version does not know"):
        estimators.load(pickled)


def test_other_features_are_an_error_whatever_the_kind(pickled: Path, onnx: Path) -> None:
    for path in (pickled, onnx):
        rewrite(path, features=("mean",))
        with pytest.raises(ModelError, match="another list of features than this version computes: retrain it"):
            estimators.load(path)


def test_a_conversion_tells_how_far_probabilities_differ() -> None:
    assert 0.0 <= conversion.convert(fitted(), FEATURES).difference < 1e-6


def test_an_estimator_that_cannot_be_converted_is_named() -> None:
    with pytest.raises(ConversionError, match="skl2onnx cannot convert Half"):
        conversion.convert(Half(), FEATURES)


def test_a_single_label_that_differs_is_enough_to_refuse() -> None:
    estimator = LogisticRegression().fit(FEATURES, LABELS)
    # A hair's breadth more than a half, which float32 cannot tell from it, for one signal of sixty.
    estimator.coef_ = np.zeros_like(estimator.coef_)
    estimator.coef_[0, 0] = 1e3
    estimator.intercept_ = np.array([1e-12])
    features = FEATURES.copy()
    features[7, 0] = 0.0
    with pytest.raises(ConversionError, match=r"gives 1 of 60 test signals another label; .* by up to \d\.\de-"):
        conversion.convert(estimator, features)
