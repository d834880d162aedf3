"""Formats a plan as a table for people and as JSON for programs, with the consumers and the memory that it needs.

plan.py makes all decisions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumer.capacity.plan import Load, Plan, PlanRow
from consumer.capacity.service_times import SHARES, MemoryUse
from consumer.escaping import escaped

#: The width if the output is not a terminal.
PIPE_WIDTH = 110
NAME_CHARACTERS = 200
_MINUTE_S, _HOUR_S = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class Sizing:
    """The resources for `row` of a plan: the row of the given slots, or of the fewest that are enough."""

    row: PlanRow
    pool_size: int
    memory: MemoryUse | None

    @classmethod
    def of(cls, plan: Plan, given: int | None, pool_size: int, memory: MemoryUse | None) -> Self | None:
        """Choose the row to show."""
        chosen = (row for row in plan.rows if row.slots == (given or plan.enough))
        return next((cls(row, pool_size, memory) for row in chosen), None)

    @property
    def consumers(self) -> int:
        """The number of consumers for the slots."""
        return math.ceil(self.row.slots / self.pool_size)

    @property
    def started(self) -> int:
        """The slots that will exist: `pool_size` per consumer, but only the needed ones of a single consumer."""
        return self.consumers * self.pool_size if self.consumers > 1 else self.row.slots

    @property
    def memory_bytes(self) -> int | None:
        """The memory of all consumers in bytes; None if it is unknown."""
        if self.memory is None:
            return None
        return self.memory.base_bytes * self.consumers + self.memory.slot_bytes * self.started


def as_json(load: Load, plan: Plan, sizing: Sizing | None, pool_size: int) -> dict[str, Any]:
    """Return the plan as a JSON object."""
    return {
        "rate_per_s": load.rate,
        "burst": load.burst,
        "overhead_s": load.overhead_s,
        "runs": {
            "source": load.service.description,
            "mean_s": load.service.mean_s,
            **{f"{name}_s": load.service.quantile(share) for name, share in SHARES.items()},
        },
        "offered_slots": load.offered,
        "target": asdict(plan.target),
        "rows": [
            {
                "slots": row.slots,
                "utilisation": row.utilisation,
                "wait_s": row.wait or None,
                "total_s": row.total or None,
                "meets": row.meets,
            }
            for row in plan.rows
        ],
        "enough": plan.enough,
        "impossible": plan.impossible or None,
        "slots": sizing and sizing.row.slots,
        "pool_size": pool_size,
        "consumers": sizing and sizing.consumers,
        "memory_bytes": sizing and sizing.memory_bytes,
        "met": sizing is not None and sizing.row.meets,
    }


def show(load: Load, plan: Plan, sizing: Sizing | None, out: TextIO) -> None:
    """Print the plan as a table, with the verdict below it."""
    console = Console(file=out, highlight=False)
    if not console.is_terminal:
        console = Console(file=out, highlight=False, width=PIPE_WIDTH)
    for line in _head(load, plan):
        console.print(Text(line))
    console.print()
    console.print(_table(plan, sizing.row.slots if sizing else None))
    for line in _verdict(load, plan, sizing):
        console.print(Text(line))


def _head(load: Load, plan: Plan) -> Iterator[str]:
    service, target = load.service, plan.target
    percentiles = ", ".join(f"{name} {show_s(service.quantile(share))}" for name, share in SHARES.items())
    at_once = f", {load.burst} at once" if load.burst > 1 else ""
    yield f"arrivals   {load.rate:.4g} jobs/s{at_once}"
    source = escaped(service.description, NAME_CHARACTERS)
    yield f"run time   mean {show_s(service.mean_s)}, {percentiles} ({source})"
    yield f"overhead   {show_s(load.overhead_s)} for each job; so {load.offered:.3g} slots are busy on average"
    yield f"target     {target.name} {target.kind} of {show_s(target.limit_s)}"


def _table(plan: Plan, chosen: int | None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for head in ("slots", "busy", *(f"{kind}\n{name}" for kind in ("wait", "total") for name in SHARES)):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("meets\ntarget", no_wrap=True)
    for row in plan.rows:
        verdict = ("yes" if row.meets else "no") if row.is_stable else "no: unstable"
        if row.slots == plan.enough:
            verdict += ", fewest"
        times = [*row.wait.values(), *row.total.values()] or [math.inf] * 2 * len(SHARES)
        cells = [str(row.slots), f"{row.utilisation:.0%}", *map(show_s, times), verdict]
        table.add_row(*map(Text, cells), style="bold" if row.slots == chosen else "")
    return table


def _verdict(load: Load, plan: Plan, sizing: Sizing | None) -> Iterator[str]:
    yield ""
    if plan.impossible:
        yield f"impossible {plan.impossible}"
    if sizing is None:
        return
    row = sizing.row
    if not row.is_stable:
        yield f"slots      {row.slots}: unstable"
        yield f"           {load.offered:.3g} would be busy on average, so the queue grows while jobs come"
    else:
        target = plan.target
        found = (row.wait if target.kind == "wait" else row.total)[target.name]
        enough = "enough" if row.meets else "not enough"
        yield f"slots      {row.slots}, {enough}: {target.name} {target.kind} {show_s(found)}"
    if plan.enough and not row.meets:
        yield f"           the fewest that are enough: {plan.enough}"
    if row.is_stable:
        yield _consumers(sizing)
        yield _memory(sizing)


def _consumers(sizing: Sizing) -> str:
    slots = f"{sizing.started} slot{'s' if sizing.started != 1 else ''}"
    if sizing.consumers == 1:
        return f"consumers  1, with {slots} (pool_size)"
    return f"consumers  {sizing.consumers}, with {sizing.pool_size} slots each (pool_size): {slots}"


def _memory(sizing: Sizing) -> str:
    if sizing.memory is None or sizing.memory_bytes is None:
        return "memory     not known: give --slot-memory, or --times of a classifier in warm workers"
    base_bytes = sizing.memory.base_bytes
    base = f", {sizing.consumers} consumers of {show_bytes(base_bytes)}" if base_bytes else ""
    slots = f"{sizing.started} slots of {show_bytes(sizing.memory.slot_bytes)}"
    return f"memory     {show_bytes(sizing.memory_bytes)}: {slots}{base}"


def show_s(seconds: float) -> str:
    """Format a time in a suitable unit, with three digits."""
    if not math.isfinite(seconds):
        return "∞"
    if seconds < 1:
        return f"{_digits(seconds * 1000)} ms"
    if seconds < _MINUTE_S:
        return f"{_digits(seconds)} s"
    if seconds < _HOUR_S:
        return f"{_digits(seconds / _MINUTE_S)} min"
    return f"{_digits(seconds / _HOUR_S)} h"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004 - three digits


def show_bytes(count: int) -> str:
    """Format an amount of memory in MB or GB of 10^6 and 10^9 bytes."""
    return f"{_digits(count / 1e9)} GB" if count >= 1e9 else f"{_digits(count / 1e6)} MB"  # noqa: PLR2004
