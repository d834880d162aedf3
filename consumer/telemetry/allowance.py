"""Limits log lines: admits a burst at once, and a fixed number a second on average.

Whoever writes the lines decides what becomes of those that are not admitted. Knows nothing about logging.
"""

from __future__ import annotations


class Allowance:
    """Admits `burst` lines at once, and `per_s` a second on average.

    Mutable state: `_left`, the number of lines that may pass now; `_filled_at`, when it was last refilled.
    """

    def __init__(self, burst: float, per_s: float, now: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._left = burst
        self._filled_at = now

    def admits(self, now: float) -> bool:
        """Return whether one more line may pass now, and take it from the allowance if so."""
        self._left = min(self._burst, self._left + (now - self._filled_at) * self._per_s)
        self._filled_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
