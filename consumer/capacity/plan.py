"""What `consumer plan` is asked and what it answers: a load and a target, rows of slots and the fewest that do.

Frozen nouns, and the one figure that they all rest on, the overhead. The answers are found in planner.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self

from consumer.capacity.queueing import Estimate
from consumer.capacity.service_times import ServiceTime

Kind = Literal["wait", "total"]
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
#: Seconds that RabbitMQ and the consumer add to a job's run, as its caller sees it, and about as long its slot is
#: held: publish, delivery, file, reply, confirm, ack. On two idle processors: a small job alone is answered after
#: 2.9 ms, of which it runs for less than 1 (docs/speed.md). bench_plan.py measures both sides again.
OVERHEAD_S = 0.003


@dataclass(frozen=True, slots=True)
class Target:
    """A share of the jobs whose wait, or total, is to be at most so many seconds."""

    name: str
    kind: Kind
    limit_s: float

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `p95-wait=0.5`.

        Raises:
            ValueError: it is none.
        """
        found = re.fullmatch(r"(p50|p95|p99)-(wait|total)=(\d*\.?\d+)(ms|s)?", text)
        if found is None or not float(found[3]):
            raise ValueError("write p50, p95 or p99, then -wait= or -total=, then seconds: p95-wait=0.5")
        kind: Kind = "wait" if found[2] == "wait" else "total"
        return cls(found[1], kind, float(found[3]) / (1000 if found[4] == "ms" else 1))

    @property
    def share(self) -> float:
        """The share of the jobs."""
        return SHARES[self.name]


@dataclass(frozen=True, slots=True)
class Load:
    """What comes, and how long it runs. `rate` in jobs per second; `burst` of them come at once."""

    rate: float
    service: ServiceTime
    burst: int = 1
    overhead_s: float = OVERHEAD_S

    @property
    def hold_s(self) -> float:
        """How long a job holds its slot, in the mean."""
        return self.service.mean_s + self.overhead_s

    @property
    def offered(self) -> float:
        """Slots that are busy in the mean: the fewest that can keep up are more than this."""
        return self.rate * self.hold_s

    @property
    def variability(self) -> float:
        """(scv of gaps + scv of holding times) / 2: 1 for single jobs of exponential length."""
        return (self.burst + self.service.scv * (self.service.mean_s / self.hold_s) ** 2) / 2


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One number of slots. Times in seconds by p50, p95 and p99; empty, and no `decides`, where it cannot keep up.

    `wait` is all that is not the run: in the queue, and the overhead. `total` is from publishing to reply.
    """

    slots: int
    utilisation: float
    first_estimate_s: float
    wait: dict[str, float]
    total: dict[str, float]
    decides: Estimate | None
    jobs: int
    meets: bool

    @property
    def is_stable(self) -> bool:
        """Whether the slots keep up."""
        return self.decides is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows by slots, and which of them is the first that meets the target; None where no number does."""

    target: Target
    rows: list[PlanRow]
    enough: int | None
    #: Why no number of slots meets it.
    impossible: str = ""
