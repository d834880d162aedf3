"""Runs `classifier train`: reads data, writes the files of a model, and yields a line of report for each step.

It checks everything that it can before the training. It makes the ONNX and skops forms last, so that everything
else is done if a conversion fails.

It pins the files that it writes. The pins are computed from memory, before another user can write to a file.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from classifier.errors import RefusedError
from classifier.models import estimators, model, onnx_file, trust
from classifier.models.model import Manifest, Training
from classifier.signals import datasets
from classifier.signals.datasets import DataSet
from classifier.signals.features import extract_all
from classifier.training import report, train
from classifier.training.train import Evaluation, Fitted


@dataclass(frozen=True, slots=True)
class Wanted:
    """The arguments.

    Without `test`, a part of `data` is held out to test on; without `pins`, nothing is pinned.
    """

    data: Path
    test: Path | None
    out: Path
    onnx: bool
    skops: bool
    pins: Path | None
    plot: Path | None
    reshuffles: int | None


def run(wanted: Wanted) -> Iterator[str]:
    """Train, evaluate, save and draw, as requested; yield the lines to print.

    Raises:
        DataError: the signals cannot be read, or cannot be divided into training and test signals.
        ModelError: the pins cannot be read or written, or the model is too large to be loaded.
        RefusedError: a library is missing, a file cannot be written, or a conversion to ONNX or skops failed.
            After a failed conversion, the model is still saved as a pickle.
    """
    if wanted.plot and wanted.plot.suffix.lower() != ".png":
        raise RefusedError(f"--plot draws a PNG, so its name must end in .png: {wanted.plot}")
    _check_libraries(wanted)
    _check_pins(wanted)
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
    pickled = yield from _save(wanted, fitted, origin)
    if wanted.plot:
        yield _draw(wanted.plot, evaluation, test)
    yield _trusted(wanted)
    if wanted.skops:
        yield from _save_skops(wanted, fitted, test, pickled)
    if wanted.onnx:
        yield from _save_onnx(wanted, fitted, test, pickled)


def _read(wanted: Wanted) -> Generator[str, None, tuple[DataSet, DataSet]]:
    training = datasets.read(wanted.data)
    if wanted.test:
        test = datasets.read(wanted.test)
        yield from (report.read_line(wanted.data, training), report.read_line(wanted.test, test))
    else:
        yield f"no --test: {train.HOLD_OUT:.0%} of the signals are held out to test on, class by class"
        yield report.read_line(wanted.data, training)
        training, test = train.hold_out(training)
    yield from (report.data_line("training", training), report.data_line("test", test))
    return training, test


#: A flag, which is also the name of an extra -> the libraries of the extra, and a function that imports them.
_NEEDS: Final[dict[str, tuple[str, Callable[[], object]]]] = {
    "plot": ("matplotlib", lambda: import_module("matplotlib")),
    "onnx": ("skl2onnx and onnxruntime", lambda: (import_module("skl2onnx"), onnx_file.onnx_runtime())),
    "skops": ("skops", lambda: import_module("skops.io")),
}


def _check_libraries(wanted: Wanted) -> None:
    for flag, (libraries, load) in _NEEDS.items():
        try:
            if getattr(wanted, flag):
                load()
        except ImportError:
            raise RefusedError(f"--{flag} needs {libraries}: pip install 'rabbitmq-classifier[{flag}]'") from None


def _check_pins(wanted: Wanted) -> None:
    if wanted.pins and not trust.is_writable(wanted.pins):
        raise RefusedError(
            f"{wanted.pins}, the file of pins, cannot be written: give --no-trust, and have "
            f"somebody who may write it run `classifier trust {wanted.out.with_suffix('')}`"
        )


def _save(wanted: Wanted, fitted: Fitted, origin: Training) -> Generator[str, None, Manifest]:
    path = wanted.out
    outdated = [form for form in model.forms_beside(path) if form.exists()]
    with _written(path):
        manifest = estimators.save(path, fitted.estimator, fitted.classes, origin, wanted.pins)
    yield from ("", f"model {path.stem!r} saved as {path} ({manifest.size:,} bytes of estimator)")
    for form in outdated:
        yield f"{form} was made from the model that this one replaces, and is removed"
    return manifest


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as unwritable:
        raise RefusedError(f"cannot write {path}: {unwritable.strerror}") from None


def _trusted(wanted: Wanted) -> str:
    if wanted.pins:
        return f"its SHA-256 is pinned in {wanted.pins}, so it may be loaded"
    return f"it is not trusted yet: have somebody run `classifier trust {wanted.out.with_suffix('')}`"


def _draw(path: Path, evaluation: Evaluation, test: DataSet) -> str:
    from classifier.training import plot  # noqa: PLC0415 - matplotlib is optional

    with _written(path):
        plot.save(path, evaluation, test)
    return f"confusion matrix and example signals drawn into {path}"


def _save_onnx(wanted: Wanted, fitted: Fitted, test: DataSet, pickled: Manifest) -> Iterator[str]:
    from classifier.training import conversion  # noqa: PLC0415 - skl2onnx is optional

    path = model.beside(wanted.out, model.ONNX_SUFFIX)
    try:
        converted = conversion.convert(fitted.estimator, extract_all(test.signals))
    except conversion.ConversionError as impossible:
        raise RefusedError(f"no ONNX file was written, and {wanted.out} will be served: {impossible}") from None
    with _written(path):
        manifest = estimators.save_form(path, estimators.ONNX, converted.body, pickled, wanted.pins)
    yield (
        f"ONNX gives all {len(test)} test signals the same label; "
        f"probabilities differ by up to {converted.difference:.1e}"
    )
    yield f"saved as {path} ({manifest.size:,} bytes), which is served in place of the pickle"


def _save_skops(wanted: Wanted, fitted: Fitted, test: DataSet, pickled: Manifest) -> Iterator[str]:
    from classifier.models import skops_file  # noqa: PLC0415 - skops is optional

    path = model.beside(wanted.out, model.SKOPS_SUFFIX)
    try:
        body = skops_file.proven(fitted.estimator, extract_all(test.signals))
    except skops_file.SkopsError as impossible:
        raise RefusedError(
            f"no skops file was written, and {wanted.out} will be served: it {impossible}"
        ) from None
    with _written(path):
        manifest = estimators.save_form(path, estimators.SKOPS, body, pickled, wanted.pins)
    yield f"skops gives all {len(test)} test signals the same probabilities"
    unless = ", where there is no ONNX" if wanted.onnx else ""
    yield f"saved as {path} ({manifest.size:,} bytes), which is served in place of the pickle{unless}"
