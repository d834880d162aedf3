"""How often something is tried to find a race: seldom in `make test`, far more often in `make soak`.

What is asserted is the same in both. `make soak` sets SOAK and runs the tests that are marked `soak`, as each is
that asks here. The storm is told its length by itself.
"""

from __future__ import annotations

import os

#: Whether this is the long form.
IN_SOAK = "SOAK" in os.environ


def often(here: int, in_soak: int) -> int:
    """Choose between a number for `make test` and one for `make soak`."""
    return in_soak if IN_SOAK else here
