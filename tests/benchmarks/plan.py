"""How much is measured, and lines that say how far it is."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

_BEGUN = time.monotonic()


@dataclass(frozen=True)
class Plan:
    """How much is measured. Defaults make the whole benchmark take about ten minutes on two slow processors.

    Attributes:
        rounds: how often all contenders are started.
        turns: how often each is measured in a round.
        burst_s: about how long a turn's jobs take at saturation.
        slots: jobs at once.
        only: keys of the rows to measure; empty for all.
    """

    rounds: int = 3
    turns: int = 3
    burst_s: float = 1.5
    slots: int = 2
    only: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls) -> Plan:
        """BENCH_QUICK=1 for a look; BENCH_ROUNDS, BENCH_TURNS, BENCH_BURST_S; BENCH_ONLY for some rows' keys."""
        usual = cls(rounds=1, turns=1, burst_s=0.5) if os.environ.get("BENCH_QUICK") else cls()
        return cls(
            rounds=int(os.environ.get("BENCH_ROUNDS", usual.rounds)),
            turns=int(os.environ.get("BENCH_TURNS", usual.turns)),
            burst_s=float(os.environ.get("BENCH_BURST_S", usual.burst_s)),
            only=tuple(os.environ.get("BENCH_ONLY", "").split()),
        )

    def leaves_out(self, key: str) -> str | None:
        """Why this row is not to be measured; None if it is."""
        return "left out by BENCH_ONLY" if self.only and key not in self.only else None


def tell(line: str) -> None:
    """A line of progress, with the time since the start."""
    print(f"[{time.monotonic() - _BEGUN:4.0f} s] {line}", flush=True)
