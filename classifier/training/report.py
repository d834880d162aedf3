"""Formats figures as text for a terminal. Every function returns lines; nothing is printed or computed here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from classifier.models.model import Manifest
from classifier.signals.datasets import DataSet

if TYPE_CHECKING:
    # For the types only: train imports scikit-learn, which this module does not need.
    from classifier.training.train import Evaluation, Fitted

_SHORT_NAME: Final = 3
_LABELS_SHOWN: Final = 12


def data_line(name: str, data: DataSet) -> str:
    shortest, longest = data.lengths
    return f"{name:<8} {len(data)} signals, {len(data.classes)} classes, {_range(shortest, longest)} points"


def read_line(path: Path, data: DataSet) -> str:
    """Describe in one line the signals that were read from a file, and what the reader assumed."""
    shortest, longest = data.lengths
    points = f"{_range(shortest, longest)} point{'s' if longest > 1 else ''}"
    signals = f"{len(data)} signal{'s' if len(data) > 1 else ''}"
    return "; ".join([f"{_printable(str(path))}: {signals} of {points}", _labels(data.classes), *data.assumed])


def times_line(fitted: Fitted) -> str:
    return f"{'took':<8} {fitted.feature_s:.2f} s for features, {fitted.fit_s:.2f} s to fit"


def evaluation_lines(evaluation: Evaluation) -> list[str]:
    """Show the accuracies, the confusion matrix, and scikit-learn's table of classes."""
    return [
        f"accuracy            {evaluation.accuracy:.4f}",
        f"balanced accuracy   {evaluation.balanced_accuracy:.4f}",
        "",
        *_confusion_lines(evaluation),
        "",
        *evaluation.table.rstrip().splitlines(),
    ]


def reshuffle_lines(accuracies: Sequence[float]) -> list[str]:
    each = "  ".join(f"{accuracy:.4f}" for accuracy in accuracies)
    mean = sum(accuracies) / len(accuracies)
    return [f"reshuffled          {each}", f"mean of {len(accuracies):<11} {mean:.4f}"]


def manifest_lines(name: str, manifest: Manifest) -> list[str]:
    training, pickled = manifest.training, manifest.converted_from
    facts = {
        "model": f"{name} ({manifest.kind}, {manifest.size:,} bytes, made {manifest.created})",
        "classes": f"{len(manifest.classes)}: {', '.join(manifest.classes)}",
        "trained on": f"{training.signals} signals of {_range(*training.lengths)} points",
        "training data": f"sha256 {training.sha256}",
        "estimator": f"sha256 {manifest.sha256}",
        **({"converted from": f"the pickle with sha256 {pickled}"} if pickled else {}),
        "features": f"{len(manifest.features)}: {', '.join(manifest.features[:4])} ...",
        "versions": ", ".join(f"{library} {version}" for library, version in manifest.versions.items()),
        "metrics": ", ".join(f"{metric} {value:.4f}" for metric, value in training.metrics.items()) or "none",
    }
    return [f"{fact:<14} {text}" for fact, text in facts.items()]


def trust_line(refusal: str | None) -> str:
    return f"{'trusted':<14} {f'no: {refusal}' if refusal else 'yes'}"


def _labels(classes: Sequence[str]) -> str:
    if not classes:
        return "no labels"
    shown = [_printable(name) for name in classes[:_LABELS_SHOWN]]
    more = f" and {len(classes) - _LABELS_SHOWN} more" if len(classes) > _LABELS_SHOWN else ""
    return f"labels: {', '.join(shown)}{more}"


def _printable(text: str) -> str:
    """Escape foreign text to one line: labels and file names may hold line breaks, or bytes that are not UTF-8."""
    return text if text.isprintable() else ascii(text)


def _range(shortest: int, longest: int) -> str:
    return f"{shortest}" if shortest == longest else f"{shortest} to {longest}"


def _confusion_lines(evaluation: Evaluation) -> list[str]:
    """Show the matrix; rows: true class; columns: predicted class. A dot is a zero, so that errors stand out.

    The head of a column is the name of its class, or a number if names are long, because long names do not fit a
    terminal.
    """
    counts = [[str(count) if count else "." for count in row] for row in evaluation.confusion.tolist()]
    short = max(map(len, evaluation.classes)) <= _SHORT_NAME
    heads = evaluation.classes if short else [str(number + 1) for number in range(len(counts))]
    names = [name if short else f"{head:>2}  {name}" for head, name in zip(heads, evaluation.classes, strict=True)]
    width = 2 + max(map(len, [*heads, *(cell for row in counts for cell in row)]))
    stub = max(map(len, names))
    rows = [_row(name, cells, stub, width) for name, cells in zip(names, counts, strict=True)]
    head = _row("", heads, stub, width)
    return ["confusion matrix; rows: true class; columns: predicted class", head, *rows]


def _row(name: str, cells: Iterable[str], stub: int, width: int) -> str:
    return f"{name:<{stub}}" + "".join(f"{cell:>{width}}" for cell in cells)
