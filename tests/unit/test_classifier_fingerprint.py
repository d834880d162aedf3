"""How code and models are identified, by which consumers are compared."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from classifier.child import fingerprint


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], ModuleType]:
    def made(name: str, text: str) -> ModuleType:
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        found = ModuleType(name)
        found.__file__ = str(path)
        monkeypatch.setitem(sys.modules, name, found)
        return found

    return made


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Let `classifier.classify` have loaded these models."""

    def loaded(found: dict[str, str]) -> None:
        classify = ModuleType("classifier.classify")
        classify.loaded = lambda: found  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "classifier.classify", classify)

    return loaded


@pytest.fixture(autouse=True)
def no_models(models: Callable[[dict[str, str]], None]) -> None:
    models({})


def test_a_module_is_identified_by_its_file(module: Callable[[str, str], ModuleType]) -> None:
    module("mine", "x = 1")
    assert fingerprint.of("mine:classify") == [("mine.py", hashlib.sha256(b"x = 1").hexdigest()[:12])]


@pytest.mark.parametrize("file", [None, "/no/such/file.py"])
def test_a_module_without_a_file_is_not(file: str | None, module: Callable[[str, str], ModuleType]) -> None:
    module("mine", "").__file__ = file
    assert fingerprint.of("mine:classify") == []


def test_the_models_of_the_own_classifier_are_named_but_not_its_code(
    models: Callable[[dict[str, str]], None],
) -> None:
    models({"pumps": "b" * 64, "machines": "a" * 64})
    assert fingerprint.of("classifier.classify:classify") == [("machines", "a" * 12), ("pumps", "b" * 12)]


def test_of_many_models_the_others_have_one_digest_together(models: Callable[[dict[str, str]], None]) -> None:
    many = {f"m{number:02}": f"{number:064}" for number in range(20)}
    models(many)
    first = fingerprint.of("classifier.classify:classify")
    assert [name for name, _ in first] == [*(f"m{number:02}" for number in range(7)), "13 more"]
    models({**many, "m19": "f" * 64})
    second = fingerprint.of("classifier.classify:classify")
    assert (first[:7], first[7] != second[7]) == (second[:7], True)


def test_only_the_own_classifier_reports_its_default_model(module: Callable[[str, str], ModuleType]) -> None:
    for name in ("classifier.classify", "mine"):
        module(name, "").default_model = lambda: "machines"  # type: ignore[attr-defined]
    assert fingerprint.default_model("classifier.classify:classify") == "machines"
    assert fingerprint.default_model("mine:classify") is None
