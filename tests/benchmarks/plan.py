"""How much is measured, and lines that say how far it is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

_BEGUN = time.monotonic()


@dataclass(frozen=True)
class Plan:
    """How much is measured. Defaults make the whole benchmark take about fourteen minutes on two processors.

    Attributes:
        turns: how often each contender is measured.
        burst_s: how long a turn's jobs come at saturation.
        quick: a look: what takes minutes is left out.
        slots: jobs at once.
        only: keys of the rows and other measurements to take; empty for all.
    """

    turns: int = 3
    burst_s: float = 2.5
    quick: bool = False
    slots: int = 2
    only: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls) -> Plan:
        """BENCH_QUICK=1 for a look; BENCH_TURNS, BENCH_BURST_S; BENCH_ONLY for some keys."""
        usual = cls(turns=1, burst_s=0.5, quick=True) if os.environ.get("BENCH_QUICK") else cls()
        return cls(
            turns=int(os.environ.get("BENCH_TURNS", usual.turns)),
            burst_s=float(os.environ.get("BENCH_BURST_S", usual.burst_s)),
            quick=usual.quick,
            only=tuple(os.environ.get("BENCH_ONLY", "").split()),
        )

    def leaves_out(self, key: str) -> str | None:
        """Why this is not to be measured; None if it is."""
        return "left out by BENCH_ONLY" if self.only and key not in self.only else None


def until(seconds: float) -> Callable[[], bool]:
    """Whether so many seconds have passed since now."""
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() >= end


def tell(line: str) -> None:
    """A line of progress, with the time since the start."""
    print(f"[{time.monotonic() - _BEGUN:4.0f} s] {line}", flush=True)
