"""The chart: for each workload jobs per second, CPU per job, latency and memory, a line for each contender.

Logarithmic scales, since a program per job costs a thousand times what a warm worker does. Every bar has its value
beside it. Ours are blue, peers grey, the in-process loop, which no broker can reach, is hatched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from load import IN_FLIGHT
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from results import LOOP, Metric, Row, Table

_OURS, _PEER, _LIMIT = "#1f6fb2", "#8a8f98", "#d9dce1"
_ALONE, _SATURATED = "#2a9d5c", "#c8553d"
_ROW_HEIGHT = 0.42
_WIDTHS = (3, 3, 4, 2)
#: Slots whose memory is drawn: the darker part and all of the bar.
_FEW, _MANY = 2, 8


def draw(tables: Sequence[Table], path: Path, machine: str) -> None:
    """Write the chart as a PNG."""
    rows = [[row for row in table.rows if row.samples] for table in tables]
    heights = [len(each) + 2 for each in rows]
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(17, sum(heights) * _ROW_HEIGHT + 0.8), layout="constrained")
        figure.suptitle(f"Classification jobs through RabbitMQ, medians. {machine}", fontsize=11)
        panels = figure.subplots(
            len(tables), len(_WIDTHS), sharey="row", squeeze=False, width_ratios=_WIDTHS, height_ratios=heights
        )
        for (rate, cpu, latency, memory), table, shown in zip(panels, tables, rows, strict=True):
            _bars(rate, shown, "jobs_per_s", f"{table.name}: jobs per second")
            _bars(cpu, shown, "cpu_ms", f"{table.name}: CPU ms per job")
            _latencies(latency, shown, f"{table.name}: latency in ms, p50 (dot) to p99")
            _memories(memory, shown, f"{table.name}: memory in MB")
            rate.set_yticks(range(len(shown)), [row.title for row in shown])
            rate.set_ylim(len(shown) - 0.4, -0.6)  # the first row on top
        figure.savefig(path, dpi=110)


def _colour(row: Row) -> str:
    return _LIMIT if row.key == LOOP else _OURS if row.key.startswith("ours") else _PEER


def _bars(axes: Axes, rows: Sequence[Row], metric: Metric, title: str) -> None:
    values = [row.median(metric) or 0.0 for row in rows]
    bars = axes.barh(range(len(rows)), values, color=[_colour(row) for row in rows], height=0.7)
    bars[0].set_hatch("///")
    axes.bar_label(bars, [_short(value) for value in values], padding=3)
    _logarithmic(axes, min(values) / 2, max(values) * 4)  # room for the label of the longest bar
    axes.set_title(title, loc="left", fontsize=10)


def _latencies(axes: Axes, rows: Sequence[Row], title: str) -> None:
    """Two spans for each contender: with one in flight, and at saturation."""
    _spans(axes, rows, "alone_p50_ms", "alone_p99_ms", (-0.17, _ALONE, "one in flight"))
    _spans(axes, rows, "saturated_p50_ms", "saturated_p99_ms", (0.17, _SATURATED, f"{IN_FLIGHT} in flight"))
    least = min(row.median("alone_p50_ms") or 1.0 for row in rows)
    most = max(row.median("saturated_p99_ms") or 1.0 for row in rows)
    _logarithmic(axes, least / 4, most * 1.5)  # room for the label of the first dot
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.07), ncols=2, frameon=False)


def _spans(axes: Axes, rows: Sequence[Row], begin: Metric, end: Metric, look: tuple[float, str, str]) -> None:
    """From one metric to another, with a dot and its value at the first; nothing where nothing was measured."""
    shift, colour, name = look
    dots = []
    for place, row in enumerate(rows):
        first, last = row.median(begin), row.median(end)
        if first is not None and last is not None:
            dots.append((first, place + shift))
            axes.hlines(place + shift, first, last, color=colour, linewidth=2.5)
    axes.plot([value for value, _ in dots], [at for _, at in dots], "o", color=colour, markersize=5, label=name)
    for dot in dots:
        axes.annotate(_short(dot[0]), dot, (-6, 0), textcoords="offset points", ha="right", va="center")


def _memories(axes: Axes, rows: Sequence[Row], title: str) -> None:
    """Of eight slots, pale, and of two in front of it; the loop has one process."""
    for place, row in enumerate(rows):
        few = row.memory_mb(1 if row.key == LOOP else _FEW)
        many = row.memory_mb(_MANY)
        for value, alpha in ((many, 0.35), (few, 1.0)):
            if value:
                axes.barh(place, value, color=_colour(row), alpha=alpha, height=0.7)
        if longest := max(filter(None, (few, many)), default=None):
            text = " / ".join(f"{value:.0f}" for value in (few, many) if value)
            axes.annotate(text, (longest, place), (3, 0), textcoords="offset points", va="center")
    axes.margins(x=0.4)
    axes.set_xlim(left=0)
    axes.set_title(f"{title}, {_FEW} / {_MANY} slots", loc="left", fontsize=10)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)


def _logarithmic(axes: Axes, low: float, high: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2g}"
