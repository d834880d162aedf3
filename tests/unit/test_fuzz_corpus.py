"""What the fuzzers start from, and what they once broke, keeps every promise; no fuzzer is needed for this."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from fuzz import TARGETS, corpus, module_name

FILES = [(target, path) for target in TARGETS for path in sorted(corpus(target).iterdir())]


@pytest.mark.parametrize(("target", "path"), FILES, ids=lambda value: getattr(value, "name", value))
def test_every_input_of_the_corpus_keeps_the_targets_promises(target: str, path: Path) -> None:
    importlib.import_module(module_name(target)).one(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_takes_an_input_of_no_bytes(target: str) -> None:
    importlib.import_module(module_name(target)).one(b"")


def test_the_corpus_is_small() -> None:
    assert len(FILES) < 100
    assert sum(path.stat().st_size for _, path in FILES) < 50_000
