"""The skops form: the same estimator, of our own list of types, and nothing is run to find out what is in it."""

from __future__ import annotations

import json
import operator
import zipfile
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from classifier.models import skops_file
from classifier.models.skops_file import SkopsError, UntrustedTypesError
from classifier.signals import machines
from classifier.signals.features import FEATURE_NAMES, Features, extract_all
from classifier.training import train

RANDOM = np.random.default_rng(0)
FEATURES: Features = RANDOM.normal(size=(60, len(FEATURE_NAMES))).astype(np.float32)
LABELS = np.where(FEATURES[:, 0] > 0.0, "a", "b")
MOST = 1 << 24


def forest() -> Any:  # noqa: ANN401 - scikit-learn ships no types
    return ExtraTreesClassifier(3, random_state=0).fit(FEATURES, LABELS)


@pytest.fixture
def body() -> bytes:
    return skops_file.proven(forest(), FEATURES)


def altered(body: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The body with another schema, all else as it is."""
    made = BytesIO()
    with zipfile.ZipFile(BytesIO(body)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "schema.json":
                schema = json.loads(content)
                change(schema)
                content = json.dumps(schema).encode()
            new.writestr(name, content)
    return made.getvalue()


def node(loader: str, module: str, name: str, **more: object) -> dict[str, object]:
    return {"__loader__": loader, "__module__": module, "__class__": name, **more}


def test_what_train_makes_loads_and_says_the_very_same() -> None:
    data = machines.generate(4)
    fitted, features = train.fit(data), extract_all(data.signals)
    loaded = skops_file.load(skops_file.proven(fitted.estimator, features), most=MOST)
    assert np.array_equal(loaded.predict_proba(features), fitted.estimator.predict_proba(features))


@pytest.mark.parametrize(
    ("estimator", "named"),
    [
        (LogisticRegression(), "sklearn.linear_model._logistic.LogisticRegression (as ObjectNode)"),
        (FunctionTransformer(np.exp), "numpy.exp (as FunctionNode)"),
        (partial(operator.add, 1), "functools.partial (as PartialNode)"),
        (operator.methodcaller("system", "true"), "operator.methodcaller (as OperatorFuncNode)"),
    ],
)
def test_types_that_are_not_on_the_list_are_refused_by_name_though_skops_would_trust_them(
    estimator: Any,  # noqa: ANN401 - anything that skops writes
    named: str,
) -> None:
    with pytest.raises(UntrustedTypesError) as refused:
        skops_file.load(skops.io.dumps(estimator), most=MOST)
    assert str(refused.value).startswith("holds types that are not on the list of trusted ones: ")
    assert named in str(refused.value)


@pytest.mark.parametrize(
    "planted",
    [
        node("FunctionNode", "builtins", "dict", content={"module_path": "os", "function": "system"}),
        node("OperatorFuncNode", "builtins", "list", attrs=node("ListNode", "builtins", "list", content=[])),
        node("ConstructorFromReduceNode", "numpy", "ndarray", content=[]),
        node("TypeNode", "posix", "system"),
        {"__loader__": "JsonNode"},
    ],
    ids=["function", "operator", "constructor", "type", "no type"],
)
def test_a_trusted_type_in_a_form_that_it_does_not_have_is_refused(
    body: bytes, planted: dict[str, object]
) -> None:
    def plant(schema: dict[str, Any]) -> None:
        schema["content"]["content"]["estimators_"]["content"].append(planted)

    with pytest.raises(UntrustedTypesError, match=rf"\(as {planted['__loader__']}\)"):
        skops_file.load(altered(body, plant), most=MOST)


def test_what_is_refused_was_not_imported(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skops.io, "loads", lambda *_, **__: pytest.fail("skops saw it"))

    def plant(schema: dict[str, Any]) -> None:
        schema.update(node("ObjectNode", "antigravity", "Flight"))

    with pytest.raises(UntrustedTypesError, match=r"antigravity\.Flight \(as ObjectNode\)"):
        skops_file.load(altered(body, plant), most=MOST)


def test_what_unpacks_to_more_than_is_allowed_is_refused_unpacked(body: bytes) -> None:
    bomb = BytesIO(body)
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as members:
        members.writestr("zeros.npy", bytes(MOST))
    assert len(bomb.getvalue()) < MOST // 10
    with pytest.raises(SkopsError, match=r"unpacks to [\d,]+ bytes, and may to 16,777,216: train a smaller one"):
        skops_file.load(bomb.getvalue(), most=MOST)


@pytest.mark.parametrize("damaged", [b"", b"PK\x03\x04", b"garbage" * 100])
def test_garbage_is_an_error_with_the_remedy(damaged: bytes) -> None:
    with pytest.raises(
        SkopsError, match=r"does not load as skops .*: make it again .* `classifier train --skops`"
    ):
        skops_file.load(damaged, most=MOST)


def test_a_zip_without_schema_or_arrays_is_an_error(body: bytes) -> None:
    empty = BytesIO()
    zipfile.ZipFile(empty, "w").close()
    with pytest.raises(SkopsError, match="does not load as skops"):
        skops_file.load(empty.getvalue(), most=MOST)

    def misname(schema: dict[str, Any]) -> None:
        schema["content"]["content"]["classes_"]["file"] = "none.npy"

    with pytest.raises(SkopsError, match="does not load as skops"):
        skops_file.load(altered(body, misname), most=MOST)


def test_a_pickle_among_the_arrays_is_not_unpickled(body: bytes) -> None:
    array = BytesIO()
    np.save(array, np.array([{"an": "object"}], dtype=object), allow_pickle=True)
    made = BytesIO()
    with zipfile.ZipFile(BytesIO(body)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, array.getvalue() if name.endswith(".npy") else old.read(name))
    with pytest.raises(SkopsError, match=r"does not load as skops .*allow_pickle"):
        skops_file.load(made.getvalue(), most=MOST)


def test_an_estimator_of_other_types_is_not_written() -> None:
    with pytest.raises(UntrustedTypesError, match="LogisticRegression"):
        skops_file.proven(LogisticRegression().fit(FEATURES, LABELS), FEATURES)
