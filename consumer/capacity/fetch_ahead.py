"""What fetching ahead would cost: jobs that wait at one consumer while another has a slot free.

This service does not do it (prefetch = slots). Simulated to say what that is worth: RabbitMQ hands jobs round to
every consumer that may hold one more, whether it has a slot free or not, and does not take them back. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

#: Jobs that a process of Celery fetches for each it can run (`worker_prefetch_multiplier`), and the usual choice.
USUAL_PREFETCH = 4


class Consumers:
    """Consumers with their slots, behind one queue. Serves once.

    Mutable state: `_queue`, jobs in RabbitMQ; `_held`, jobs at each consumer that have not begun; `_free`, its
    free slots; `_credit`; `_turn`, who is next; `_ends`, when what runs will end; `_waits` by job.
    """

    def __init__(self, pools: Sequence[int], *, prefetch_per_slot: int = USUAL_PREFETCH) -> None:
        """Begin with nothing; `pools` are the slots of each consumer."""
        self._queue: deque[int] = deque()
        self._held: list[deque[int]] = [deque() for _ in pools]
        self._free = list(pools)
        #: How many more each may be handed.
        self._credit = [slots * prefetch_per_slot for slots in pools]
        self._turn = 0
        self._ends: list[tuple[float, int]] = []
        self._waits: list[float] = []
        self._came: list[float] = []
        self._holds: list[float] = []

    def serve(self, gaps: Iterable[float], holds: Iterable[float]) -> list[float]:
        """Take jobs, each `gap` seconds after the one before, holding their slots; give their waits in seconds."""
        now = 0.0
        for gap, hold in zip(gaps, holds, strict=True):
            now += gap
            self._end_until(now)
            self._came.append(now)
            self._holds.append(hold)
            self._waits.append(0.0)
            self._queue.append(len(self._came) - 1)
            self._hand_out(now)
        self._end_until(float("inf"))
        return self._waits

    def _end_until(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            ended, consumer = heappop(self._ends)
            self._free[consumer] += 1
            self._credit[consumer] += 1
            self._begin(consumer, ended)
            self._hand_out(ended)

    def _hand_out(self, now: float) -> None:
        """Give what is queued to who may hold more, in turn; stop where a whole round took nothing."""
        passed = 0
        while self._queue and passed < len(self._held):
            at, self._turn = self._turn, (self._turn + 1) % len(self._held)
            if self._credit[at]:
                passed = 0
                self._credit[at] -= 1
                self._held[at].append(self._queue.popleft())
                self._begin(at, now)
            else:
                passed += 1

    def _begin(self, consumer: int, now: float) -> None:
        while self._free[consumer] and self._held[consumer]:
            job = self._held[consumer].popleft()
            self._free[consumer] -= 1
            self._waits[job] = now - self._came[job]
            heappush(self._ends, (now + self._holds[job], consumer))
