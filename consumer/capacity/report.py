"""Formats a plan as a table for people and as JSON for programs, with the consumers that it needs.

plan.py makes all decisions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from consumer.capacity.plan import Load, Plan, PlanRow
from consumer.capacity.service_times import SHARES
from consumer.escaping import escaped
from consumer.wording import counted

#: The width if the output is not a terminal.
PIPE_WIDTH = 110
NAME_CHARACTERS = 200
#: Unit -> its seconds, largest first.
_UNITS = {"h": 3600.0, "min": 60.0, "s": 1.0, "ms": 0.001}


def chosen(plan: Plan, given: int | None) -> PlanRow | None:
    """Return the row to show: that of the given slots, or of the fewest that are enough."""
    return next((row for row in plan.rows if row.slots == (given or plan.enough)), None)


def as_json(load: Load, plan: Plan, row: PlanRow | None, pool_size: int) -> dict[str, Any]:
    """Return the plan as a JSON object."""
    return {
        "rate_per_s": load.rate,
        "overhead_s": load.overhead_s,
        "runs": {
            "source": load.service.description,
            "mean_s": load.service.mean_s,
            **{f"{name}_s": load.service.quantile(share) for name, share in SHARES.items()},
        },
        "offered_slots": load.offered,
        **asdict(plan),
        "slots": row and row.slots,
        "pool_size": pool_size,
        "consumers": row and math.ceil(row.slots / pool_size),
        "met": row is not None and row.meets,
    }


def show(load: Load, plan: Plan, row: PlanRow | None, pool_size: int, out: TextIO) -> None:
    """Print the plan as a table, with the verdict below it."""
    console = Console(file=out, width=None if out.isatty() else PIPE_WIDTH, highlight=False, markup=False)
    console.print(*_head(load, plan), "", _table(plan, row), "", *_verdict(load, plan, row, pool_size), sep="\n")


def _head(load: Load, plan: Plan) -> Iterator[str]:
    service, target = load.service, plan.target
    percentiles = ", ".join(f"{name} {show_s(service.quantile(share))}" for name, share in SHARES.items())
    source = escaped(service.description, NAME_CHARACTERS)
    yield f"arrivals   {load.rate:.4g} jobs/s"
    yield f"run time   mean {show_s(service.mean_s)}, {percentiles} ({source})"
    yield f"overhead   {show_s(load.overhead_s)} for each job; so {load.offered:.3g} slots are busy on average"
    yield f"target     {target.name} {target.kind} of {show_s(target.limit_s)}"


def _table(plan: Plan, shown: PlanRow | None) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for head in ("slots", "busy", *(f"{kind}\n{name}" for kind in ("wait", "total") for name in SHARES)):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("meets\ntarget", no_wrap=True)
    for row in plan.rows:
        verdict = ("yes" if row.meets else "no") if row.is_stable else "no: unstable"
        verdict += ", fewest" if row.slots == plan.enough else ""
        times = [of.get(name, math.inf) for of in (row.wait_s, row.total_s) for name in SHARES]
        cells = [str(row.slots), f"{row.utilisation:.0%}", *map(show_s, times), verdict]
        table.add_row(*cells, style="bold" if row is shown else "")
    return table


def _verdict(load: Load, plan: Plan, row: PlanRow | None, pool_size: int) -> Iterator[str]:
    if plan.impossible:
        yield f"impossible {plan.impossible}"
    if row is None:
        return
    if row.is_stable:
        enough = "enough" if row.meets else "not enough"
        found = show_s(row.decisive_s(plan.target))
        yield f"slots      {row.slots}, {enough}: {plan.target.name} {plan.target.kind} {found}"
    else:
        yield f"slots      {row.slots}: unstable"
        yield f"           {load.offered:.3g} would be busy on average, so the queue grows while jobs come"
    if plan.enough and not row.meets:
        yield f"           the fewest that are enough: {plan.enough}"
    if row.is_stable:
        consumers = math.ceil(row.slots / pool_size)
        each = f"{counted(pool_size, 'slot')} each" if consumers > 1 else counted(row.slots, "slot")
        yield f"consumers  {consumers}, with {each} (pool_size)"


def show_s(seconds: float) -> str:
    """Format a time in a suitable unit, with three digits."""
    if not math.isfinite(seconds):
        return "∞"
    unit = next((unit for unit, size in _UNITS.items() if seconds >= size), "ms")
    value = seconds / _UNITS[unit]
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"  # noqa: PLR2004 - three digits
