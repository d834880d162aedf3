"""What `classifier train` does, from files to files, told line by line as it goes. It prints nothing itself.

What can be refused is refused before the training, which would be in vain. Conversion to ONNX comes last:
it alone may turn out impossible after all went well, and then everything else has been done.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from classifier import datasets, estimators, model, report, train
from classifier.datasets import DataSet
from classifier.errors import RefusedError
from classifier.features import extract_all
from classifier.model import Manifest, Training
from classifier.train import Evaluation, Fitted


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for; without `test`, a part of `data` is held out."""

    data: Path
    test: Path | None
    out: Path
    onnx: bool
    plot: Path | None
    reshuffles: int | None


def run(wanted: Wanted) -> Iterator[str]:
    """Train, evaluate, save and draw, as wanted; the lines to be shown.

    Raises:
        DataError: the signals cannot be read, or not be divided.
        RefusedError: a library is missing, a file cannot be written, or there is no ONNX of this model, which
            is saved as a pickle all the same.
    """
    _check_plot(wanted.plot)
    _check_onnx(wanted=wanted.onnx)
    training, test = yield from _read(wanted)
    fitted = train.fit(training)
    evaluation = train.evaluate(fitted, test)
    yield from (report.times_line(fitted), "", *report.evaluation_lines(evaluation))
    metrics = {"accuracy": evaluation.accuracy, "balanced_accuracy": evaluation.balanced_accuracy}
    if wanted.reshuffles:
        accuracies = train.reshuffles(training, test, wanted.reshuffles)
        metrics["reshuffled_accuracy"] = sum(accuracies) / len(accuracies)
        yield from ("", *report.reshuffle_lines(accuracies))
    origin = Training(len(training), training.lengths, training.sha256(), metrics)
    pickled = yield from _save(wanted.out, fitted, origin)
    if wanted.plot:
        yield _draw(wanted.plot, evaluation, test)
    if wanted.onnx:
        yield from _save_onnx(wanted.out, fitted, test, pickled)


def _read(wanted: Wanted) -> Generator[str, None, tuple[DataSet, DataSet]]:
    training = datasets.read(wanted.data)
    if wanted.test:
        test = datasets.read(wanted.test)
    else:
        yield f"no --test: {train.HOLD_OUT:.0%} of the signals are held out to test on, class by class"
        training, test = train.hold_out(training)
    yield from (report.data_line("training", training), report.data_line("test", test))
    return training, test


def _check_plot(path: Path | None) -> None:
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise RefusedError(f"--plot draws a PNG, so its name must end in .png: {path}")
    try:
        import_module("matplotlib")
    except ImportError:
        raise RefusedError("--plot needs matplotlib: pip install 'rabbitmq-classifier[plot]'") from None


def _check_onnx(*, wanted: bool) -> None:
    if not wanted:
        return
    try:
        import_module("skl2onnx")
        estimators.onnx_runtime()
    except ImportError:
        raise RefusedError(
            "--onnx needs skl2onnx and onnxruntime: pip install 'rabbitmq-classifier[onnx]'"
        ) from None


def _save(path: Path, fitted: Fitted, origin: Training) -> Generator[str, None, Manifest]:
    onnx = model.onnx_beside(path)
    outdated = onnx.exists()
    try:
        manifest = estimators.save(path, fitted.estimator, fitted.classes, origin)
    except OSError as unwritable:
        raise RefusedError(f"cannot write {path}: {unwritable.strerror}") from None
    yield from ("", f"model {path.stem!r} saved as {path} ({manifest.size:,} bytes of estimator)")
    if outdated:
        yield f"{onnx} was made from the model that this one replaces, and is removed"
    return manifest


def _draw(path: Path, evaluation: Evaluation, test: DataSet) -> str:
    from classifier import plot  # noqa: PLC0415 - matplotlib is optional

    try:
        plot.save(path, evaluation, test)
    except OSError as unwritable:
        raise RefusedError(f"cannot write {path}: {unwritable.strerror}") from None
    return f"confusion matrix and example signals drawn into {path}"


def _save_onnx(pickle: Path, fitted: Fitted, test: DataSet, pickled: Manifest) -> Iterator[str]:
    from classifier import conversion  # noqa: PLC0415 - skl2onnx is optional

    path = model.onnx_beside(pickle)
    try:
        converted = conversion.convert(fitted.estimator, extract_all(test.signals))
        manifest = estimators.save_onnx(path, converted.body, pickled)
    except conversion.ConversionError as impossible:
        raise RefusedError(f"no ONNX, {pickle} is kept and will be served: {impossible}") from None
    except OSError as unwritable:
        raise RefusedError(f"cannot write {path}: {unwritable.strerror}") from None
    yield (
        f"ONNX gives all {len(test)} test signals the same label; "
        f"probabilities differ by up to {converted.difference:.1e}"
    )
    yield f"saved as {path} ({manifest.size:,} bytes), which is served in place of the pickle"
