"""How often a test repeats a step to find a race: seldom in `make test`, far more often in `make soak`.

The assertions are the same in both. `make soak` sets the variable SOAK and runs the tests with the mark `soak`;
every test that calls `often` has this mark. The storm test has its own variable for its duration.
"""

from __future__ import annotations

import os

#: Whether the tests run in `make soak`.
IN_SOAK = "SOAK" in os.environ


def often(here: int, in_soak: int) -> int:
    """Return `in_soak` in `make soak`, otherwise `here`."""
    return in_soak if IN_SOAK else here
