"""Foreign bytes, chosen by what they reach in our code: `make fuzz`.

A target is a module with `one`, which raises over bytes that break a promise, and `MODULES`, whose lines it is to
reach. It needs no fuzzer: `tests/unit/test_fuzz_corpus.py` runs each over its corpus, a few dozen inputs by which
the fuzzer starts and by which faults that it found stay mended. `target.py` alone needs atheris.
"""

from __future__ import annotations

from pathlib import Path

TARGETS = ("contract", "messages", "settings", "tables")


def module_name(target: str) -> str:
    return f"fuzz.fuzz_{target}"


def corpus(target: str) -> Path:
    return Path(__file__).parent / "corpus" / target
