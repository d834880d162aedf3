"""How long a test waits, and how it waits for what nobody tells it."""

from __future__ import annotations

import time
from collections.abc import Callable

#: No test waits this long unless something hangs. rabbitmqctl takes three seconds of CPU: with twelve busy processes
#: on two CPUs it took more than a minute.
PATIENCE_S = 180.0
POLL_S = 0.1


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for what nobody tells, so that it has to be asked for."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s:g} s in vain for {what}")
        time.sleep(POLL_S)
