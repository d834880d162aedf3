"""Draws an evaluation: the confusion matrix, and a signal of each class beside it.

Only this module imports matplotlib, which is the optional extra `plot`. It draws to a file, never to a screen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import ConfusionMatrixDisplay

from classifier.signals.datasets import DataSet
from classifier.signals.signals import Signal
from classifier.training.train import Evaluation

_SHORT_NAME: Final = 3
_SLANT_DEGREES: Final = 40
_LINE: Final = "#1f5a94"
_QUIET: Final = "#777777"


def save(path: Path, evaluation: Evaluation, data: DataSet) -> None:
    """Draw `evaluation` of `data` as a PNG.

    Raises:
        OSError: the file cannot be written.
    """
    # A label is plain text: matplotlib would read dollar signs as mathematics, which may not even parse.
    with rc_context({"text.parse_math": False}):
        figure = _figure(evaluation, data)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", dpi=110, bbox_inches="tight", pad_inches=0.2)


def _figure(evaluation: Evaluation, data: DataSet) -> Figure:
    rows = (len(evaluation.classes) + 1) // 2
    side = max(5.5, 0.62 * len(evaluation.classes))
    # pyplot would choose a screen, and keep the figure in memory.
    figure = Figure(figsize=(side + 7.5, max(side, 0.95 * rows) + 1.0), layout="constrained")
    grid = figure.add_gridspec(1, 2, width_ratios=(side, 6.5))
    _draw_confusion(figure.add_subplot(grid[0, 0]), evaluation)
    _draw_examples(figure, grid[0, 1], evaluation, data)
    figure.suptitle(
        f"{len(data)} test signals: accuracy {evaluation.accuracy:.3f}, balanced "
        f"{evaluation.balanced_accuracy:.3f}; right: a typical signal of each class (value over point)",
        fontsize=13,
    )
    return figure


def _draw_confusion(axes: Axes, evaluation: Evaluation) -> None:
    names = evaluation.classes
    # Long names side by side would overlap.
    rotation = "horizontal" if max(map(len, names)) <= _SHORT_NAME else _SLANT_DEGREES
    display = ConfusionMatrixDisplay(evaluation.confusion, display_labels=names)
    display.plot(ax=axes, cmap="Blues", colorbar=False, xticks_rotation=rotation)
    axes.set(xlabel="predicted class", ylabel="true class")


def _draw_examples(figure: Figure, place: SubplotSpec, evaluation: Evaluation, data: DataSet) -> None:
    shown = [name for name in evaluation.classes if name in data.labels]
    grid = place.subgridspec((len(shown) + 1) // 2, 2)
    for at, name in enumerate(shown):
        _draw_signal(figure.add_subplot(grid[at // 2, at % 2]), name, _typical(data, name))


def _typical(data: DataSet, name: str) -> Signal:
    """Return the signal of a class with the median spread, because the first one might be unusual."""
    signals = [signal for signal, label in zip(data.signals, data.labels, strict=True) if label == name]
    # The signal is scaled before it is squared, so that no finite signal overflows.
    spreads = [float((signal / (np.abs(signal).max() or 1.0)).std()) for signal in signals]
    return signals[int(np.argsort(spreads)[len(spreads) // 2])]


def _draw_signal(axes: Axes, name: str, signal: Signal) -> None:
    axes.plot(signal, color=_LINE, linewidth=0.7)
    axes.set_title(name, fontsize=9, loc="left", pad=3)
    axes.set_xlim(0, max(signal.size - 1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7, colors=_QUIET, length=2)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(3))
