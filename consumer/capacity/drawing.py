"""A plan as a picture: latency against load, with the target, the load of today, and where the slots give out.

The only importer of matplotlib in this package, which is the optional extra `plot`. Draws to a file, never to a
screen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from consumer.capacity.planner import Planner
from consumer.capacity.report import Sizing, show_s
from consumer.errors import ConfigurationError

#: Denser where the curve is steep.
UTILISATIONS: Final = (0.1, 0.25, 0.35, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.96)
_COLOURS: Final = {"p50": "#7fb0d8", "p95": "#1f6fb2", "p99": "#123f66"}
_TARGET: Final = "#c8553d"
_TODAY: Final = "#333333"
_QUIET: Final = "#8a8f98"


def save(path: Path, planner: Planner, sizing: Sizing) -> None:
    """Draw it into a PNG.

    Raises:
        ConfigurationError: the file cannot be written, or there is nothing to draw.
    """
    slots = sizing.slots or max(row.slots for row in sizing.plan.rows)
    figure = Figure(figsize=(10.5, 5.2), layout="constrained")
    axes = figure.add_subplot()
    _draw_curves(axes, planner, slots)
    _draw_target(axes, planner, slots)
    target = planner.target
    axes.set_title(
        f"{target.kind} against load: {slots} slot{'s' if slots > 1 else ''}, "
        f"run time {show_s(planner.load.service.mean_s)} on average",
        loc="left",
        fontsize=11,
    )
    try:
        figure.savefig(path, format="png", dpi=110)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def _draw_curves(axes: Axes, planner: Planner, slots: int) -> None:
    """Three percentiles of these slots, and the one that decides of one slot less and one more."""
    name = planner.target.name
    for other, dashes in ((slots - 1, ":"), (slots + 1, "--")):
        if other > 0:
            points = planner.curve(other, UTILISATIONS)
            label = f"{name} with {other}"
            axes.plot(*_line(points, name), dashes, color=_QUIET, linewidth=1.2, label=label)
    points = planner.curve(slots, UTILISATIONS)
    for each, colour in _COLOURS.items():
        axes.plot(
            *_line(points, each),
            color=colour,
            linewidth=2.4 if each == name else 1.4,
            label=f"{each} with {slots}",
        )


def _line(points: list[tuple[float, dict[str, float]]], name: str) -> tuple[list[float], list[float]]:
    return [rate for rate, _ in points], [found[name] for _, found in points]


def _draw_target(axes: Axes, planner: Planner, slots: int) -> None:
    load, target = planner.load, planner.target
    capacity = slots / load.hold_s
    right = max(capacity, load.rate) * 1.12
    above = f"above capacity: {capacity:.3g} jobs/s"
    axes.axvspan(capacity, right, color=_QUIET, alpha=0.15, linewidth=0, label=above)
    wanted = f"target: {target.name} {show_s(target.limit_s)}"
    axes.axhline(target.limit_s, color=_TARGET, linewidth=1.2, label=wanted)
    today = f"arrivals: {load.rate:.3g} jobs/s"
    axes.axvline(load.rate, color=_TODAY, linewidth=1.2, linestyle="-.", label=today)
    axes.set_xlim(0, right)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show_s(value)))
    axes.set_xlabel("jobs per second")
    axes.set_ylabel("wait" if target.kind == "wait" else "total, from publishing to reply")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    # Beside the picture: there is no corner that no curve comes through.
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)
