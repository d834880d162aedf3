"""When each run that holds a slot must have ended, whatever its classifier does: what health asks for.

Every wait of a run has a bound of its own; this is their sum, and knows nothing of them. A run beyond it is a bug
of ours or a process that the kernel cannot end, and its slot is lost until we are started again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from consumer.runners.child import DRAIN_S, KILL_GRACE_S
from consumer.runners.exec_run import LINGER_S
from consumer.runners.files.room import PATIENCE_S
from consumer.runners.fork_client import ANSWER_TIMEOUT_S, START_TIMEOUT_S

#: Before the run: room for its file, and a worker, for which a fork server may have to load. After it: its end.
GRACE_S = PATIENCE_S + START_TIMEOUT_S + ANSWER_TIMEOUT_S + LINGER_S + KILL_GRACE_S + DRAIN_S


class Due:
    """When runs must have ended. `wait_s`: how long one may wait for others that it shares its slot with.

    Mutable state: `_due`, a time for each run that has not ended; each takes its own out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, wait_s: float = 0.0) -> None:
        self._clock = clock
        self._grace_s = wait_s + GRACE_S
        self._due: dict[object, float] = {}

    @contextmanager
    def within(self, run_s: float) -> Iterator[None]:
        """Expect the block to end after this run time and the grace."""
        run = object()
        self._due[run] = self._clock() + run_s + self._grace_s
        try:
            yield
        finally:
            del self._due[run]

    def over(self) -> int:
        """Count the runs that should have ended."""
        now = self._clock()
        return sum(due < now for due in self._due.values())
