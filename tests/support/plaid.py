"""Where the PLAID data set is. It is not ours to ship: without it, tests that read it are skipped and say so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("PLAID_DIR") or Path(__file__).parents[3] / "shared" / "data" / "PLAID")
TRAIN, TEST = FOLDER / "PLAID_TRAIN.ts", FOLDER / "PLAID_TEST.ts"


def require() -> None:
    """Skip the test where the data are not."""
    if not (TRAIN.exists() and TEST.exists()):
        pytest.skip(f"no PLAID_TRAIN.ts and PLAID_TEST.ts in {FOLDER}; name their folder in PLAID_DIR")
