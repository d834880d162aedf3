"""Finds the PLAID data set. The project does not ship it; without it, the tests that read it are skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("PLAID_DIR") or Path(__file__).parents[3] / "shared" / "data" / "PLAID")
TRAIN, TEST = FOLDER / "PLAID_TRAIN.ts", FOLDER / "PLAID_TEST.ts"


def require() -> None:
    """Skip the test, with the reason, if the data set is missing."""
    if not (TRAIN.exists() and TEST.exists()):
        pytest.skip(f"no PLAID_TRAIN.ts and PLAID_TEST.ts in {FOLDER}; name their folder in PLAID_DIR")
