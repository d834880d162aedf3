"""What a plan comes to, for people and programs: consumers and memory; table and JSON.

Nothing is decided here that planner.py decides. Times are shown in the unit that suits them, with three digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumer.capacity.plan import SHARES, Load, Plan, PlanRow, Target
from consumer.capacity.planner import Planner
from consumer.capacity.service_times import MemoryUse
from consumer.escaping import escaped

#: Where no terminal says how wide it is.
PIPE_WIDTH = 110
NAME_CHARACTERS = 200
#: Half of an interval, as a share of its figure: from here on a person is told.
WIDE = 0.2
_MINUTE_S, _HOUR_S = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class Sizing:
    """A plan, and what it takes to run it. `slots` are those that were asked about, or the fewest that are enough.

    `memory_bytes` is None where nobody knows it.
    """

    plan: Plan
    slots: int | None
    pool_size: int
    consumers: int | None
    memory: MemoryUse | None
    memory_bytes: int | None
    is_met: bool


def size(planner: Planner, given: int | None, pool_size: int, memory: MemoryUse | None) -> Sizing:
    """Make a plan, and say what the fewest slots that are enough need; or the given ones."""
    plan = planner.plan(given)
    slots = given or plan.enough
    row = planner.row(slots) if slots else None
    consumers = math.ceil(slots / pool_size) if slots else None
    needs = None
    if memory and slots and consumers:
        needs = memory.base_bytes * consumers + memory.slot_bytes * started(slots, pool_size)
    return Sizing(plan, slots, pool_size, consumers, memory, needs, is_met=bool(row and row.meets))


def started(slots: int, pool_size: int) -> int:
    """The slots that there will be: consumers are alike, but a single one is made to fit."""
    return math.ceil(slots / pool_size) * pool_size if slots > pool_size else slots


def as_json(load: Load, sizing: Sizing) -> dict[str, Any]:
    """All of it, for programs. Infinity, which JSON does not know, is null."""
    plan = sizing.plan
    return {
        "rate_per_s": load.rate,
        "burst": load.burst,
        "overhead_s": load.overhead_s,
        "runs": {
            "source": load.service.description,
            "mean_s": load.service.mean_s,
            "cv": math.sqrt(load.service.scv),
            **{f"{name}_s": load.service.quantile(share) for name, share in SHARES.items()},
        },
        "offered_slots": load.offered,
        "target": asdict(plan.target),
        "rows": [_row_as_json(row) for row in plan.rows],
        "enough": plan.enough,
        "impossible": plan.impossible or None,
        "slots": sizing.slots,
        "pool_size": sizing.pool_size,
        "consumers": sizing.consumers,
        "memory_bytes": sizing.memory_bytes,
        "met": sizing.is_met,
    }


def _row_as_json(row: PlanRow) -> dict[str, Any]:
    return {
        "slots": row.slots,
        "utilisation": row.utilisation,
        "first_estimate_s": row.first_estimate_s if row.is_stable else None,
        "wait_s": row.wait or None,
        "total_s": row.total or None,
        "half_interval_s": row.decides.half if row.decides else None,
        "jobs": row.jobs,
        "meets": row.meets,
    }


def show(load: Load, sizing: Sizing, out: TextIO) -> None:
    """Print it for a person."""
    console = Console(file=out, highlight=False)
    if not console.is_terminal:
        console = Console(file=out, highlight=False, width=PIPE_WIDTH)
    for line in _head(load, sizing.plan.target):
        console.print(Text(line))
    console.print()
    console.print(_table(sizing))
    for line in _verdict(load, sizing):
        console.print(Text(line))


def _head(load: Load, target: Target) -> Iterator[str]:
    service = load.service
    percentiles = ", ".join(f"{name} {show_s(service.quantile(share))}" for name, share in SHARES.items())
    at_once = f", {load.burst} at once" if load.burst > 1 else ""
    yield f"arrivals   {load.rate:.4g} jobs/s{at_once}"
    source = escaped(service.description, NAME_CHARACTERS)
    yield f"run time   mean {show_s(service.mean_s)}, {percentiles} ({source})"
    yield f"overhead   {show_s(load.overhead_s)} for each job; so {load.offered:.3g} slots are busy on average"
    yield f"target     {target.name} {target.kind} of {show_s(target.limit_s)}"


def _table(sizing: Sizing) -> Table:
    plan = sizing.plan
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    heads = [f"{kind}\n{name}" for kind in ("wait", "total") for name in SHARES]
    for head in ("slots", "busy", f"Erlang\n{plan.target.name}", *heads):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("meets\ntarget", no_wrap=True)
    for row in plan.rows:
        style = "bold" if row.slots == sizing.slots else ""
        table.add_row(*(Text(cell) for cell in _cells(row, sizing)), style=style)
    return table


def _cells(row: PlanRow, sizing: Sizing) -> list[str]:
    if row.decides is None:
        return [str(row.slots), f"{row.utilisation:.0%}", *["∞"] * (1 + 2 * len(SHARES)), "no: unstable"]
    times = [*row.wait.values(), *row.total.values()]
    verdict = "yes" if row.meets else "no"
    if not row.meets and row.decides.value <= sizing.plan.target.limit_s:
        verdict = "perhaps"
    if row.slots == sizing.plan.enough:
        verdict += ", fewest"
    return [str(row.slots), f"{row.utilisation:.0%}", show_s(row.first_estimate_s), *map(show_s, times), verdict]


def _verdict(load: Load, sizing: Sizing) -> Iterator[str]:
    plan, slots = sizing.plan, sizing.slots
    yield ""
    if plan.impossible:
        yield f"impossible {plan.impossible}"
    if slots is None:
        return
    row = next(row for row in plan.rows if row.slots == slots)
    yield from _answer(row, sizing)
    if row.decides is None:
        yield f"           {load.offered:.3g} would be busy on average, so the queue grows while jobs come"
    if plan.enough and not row.meets:
        yield f"           the fewest that are enough: {plan.enough}"
    if row.decides is None:
        return
    yield from _means(slots, sizing)


def _answer(row: PlanRow, sizing: Sizing) -> Iterator[str]:
    plan = sizing.plan
    found = row.decides
    figure = f"{plan.target.name} {plan.target.kind}"
    if found is None:
        yield f"slots      {row.slots}: unstable"
        return
    enough = "enough" if row.meets else "not enough"
    yield (
        f"slots      {row.slots}, {enough}: {figure} {show_s(found.value)} ± {show_s(found.half)} "
        f"(95 % interval, {row.jobs:,} jobs simulated)"
    )
    if found.half > WIDE * found.value:
        yield "           the interval is wide: the longest runs decide, and they are rare"


def _means(slots: int, sizing: Sizing) -> Iterator[str]:
    there = started(slots, sizing.pool_size)
    if sizing.consumers == 1:
        yield f"consumers  1, with {there} slot{'s' if there > 1 else ''} (pool_size)"
    else:
        more = f": {there} slots" if there > slots else ""
        yield f"consumers  {sizing.consumers}, with {sizing.pool_size} slots each (pool_size){more}"
    if sizing.memory is None or sizing.memory_bytes is None:
        yield "memory     not known: give --slot-memory, or --times of a classifier in warm workers"
        return
    base, slot = sizing.memory.base_bytes, sizing.memory.slot_bytes
    parts = f"{there} slots of {show_bytes(slot)}" + (
        f", {sizing.consumers} consumers of {show_bytes(base)}" if base else ""
    )
    yield f"memory     {show_bytes(sizing.memory_bytes)}: {parts}"


def show_s(seconds: float) -> str:
    """A time in its unit, with three digits."""
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
    """An amount of memory in MB or GB of 10^6 and 10^9 bytes."""
    return f"{_digits(count / 1e9)} GB" if count >= 1e9 else f"{_digits(count / 1e6)} MB"  # noqa: PLR2004
