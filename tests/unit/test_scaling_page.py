"""deploy/SCALING.md has figures that follow from its formulas."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "deploy" / "SCALING.md").read_text()


@pytest.mark.parametrize(("slots", "run_s", "wait_s", "value"), [(8, 0.2, 2, 88), (8, 60, 30, 12)])
def test_the_values_for_keda_follow_from_the_formula(slots: int, run_s: float, wait_s: float, value: int) -> None:
    assert re.search(r"value = pool_size . \(1 \+ longest wait / run time\)", PAGE)
    assert slots * (1 + wait_s / run_s) == pytest.approx(value)
    assert re.search(rf"\b(is|it is) .*\b{value}\.", PAGE)


def test_it_has_a_place_for_what_was_measured() -> None:
    assert "<!-- begin: make scale -->\n" in PAGE
    assert PAGE.index("<!-- begin: make scale -->") < PAGE.index("<!-- end: make scale -->")
