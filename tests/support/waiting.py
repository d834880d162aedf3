"""The time limit of a wait in tests, and a wait for a condition that has no event."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds that no wait takes unless a process hangs. rabbitmqctl takes three seconds of CPU: while twelve busy
#: processes shared two CPUs, it took more than a minute.
PATIENCE_S = 180.0
POLL_S = 0.1


def wait_until(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Poll `condition` until it is true. Use it only for conditions without an event.

    Raises:
        AssertionError: the condition is not true after `patience_s` seconds. The message names `what`.
    """
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s:g} s in vain for {what}")
        time.sleep(POLL_S)
