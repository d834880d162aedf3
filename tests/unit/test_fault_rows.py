"""The list of faults at the top of test_faults.py names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_fault_is_listed_with_a_test_that_exists() -> None:
    listed, _, _ = (TESTS / "integration" / "test_faults.py").read_text().partition('"""\n\nfrom')
    names = set(re.findall(r"\btest_\w+\b", listed))
    files = list(TESTS.glob("*/test_*.py"))
    defined = {name for file in files for name in re.findall(r"def (test_\w+)\(", file.read_text())}
    assert names - defined - {file.stem for file in files} == set()
