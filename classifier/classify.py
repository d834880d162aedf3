"""Classifies jobs, for the contract's program, `classifier predict` and warm workers.

A job is `{"signal": [numbers], "model": optional name}`; other keys are ignored. A process loads each model once.
A job's signal is checked before its model is chosen and loaded, so that a bad job costs next to nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from classifier.contract import JobError, batch_of
from classifier.models import estimators
from classifier.models.estimators import Model
from classifier.models.folder import choose, default, every, freeze, models_folder, nothing_in
from classifier.models.model import ModelError
from classifier.signals import signals
from classifier.signals.features import Features, extract, extract_all


def classify(job: dict[str, Any], folder: Path | None = None) -> dict[str, object]:
    """Classify `job`; return its label, the probabilities by class, and the model used.

    `folder`: the models folder; by default that of `models_folder()`.

    Raises:
        JobError: the signal is invalid, or the model does not exist; both are the job's fault.
        ModelError: the model exists, but cannot be used.
    """
    signal, path = _read(job, folder or models_folder())
    return _answers(_loaded(path), extract(signal)[None, :])[0]


@batch_of(classify)
def classify_jobs(jobs: Sequence[dict[str, Any]]) -> list[object]:
    """Classify several jobs with one call of each model; return for each its result or its JobError."""
    answers: list[object] = [None] * len(jobs)
    of_model: dict[Path, list[tuple[int, signals.Signal]]] = {}
    for number, job in enumerate(jobs):
        try:
            signal, path = _read(job, models_folder())
        except JobError as bad_job:
            answers[number] = bad_job
        else:
            of_model.setdefault(path, []).append((number, signal))
    for path, some in of_model.items():
        rows = _answers(_loaded(path), extract_all([signal for _, signal in some]))
        for (number, _), answer in zip(some, rows, strict=True):
            answers[number] = answer
    return answers


def _read(job: dict[str, Any], folder: Path) -> tuple[signals.Signal, Path]:
    """Return the job's signal and the file of its model.

    Raises:
        JobError: as `classify`.
    """
    try:
        signal = signals.checked(job.get("signal"))
    except signals.SignalError as bad_signal:
        raise JobError(str(bad_signal)) from None
    return signal, choose(folder, job.get("model"))


def classify_all(
    batch: Sequence[signals.Signal], folder: Path, name: str | None = None
) -> list[dict[str, object]]:
    """Return the results of `classify` for several valid signals.

    Raises:
        JobError: the model does not exist.
        ModelError: the model exists, but cannot be used.
    """
    return _answers(_loaded(choose(folder, name)), extract_all(batch))


def preload() -> list[str]:
    """Load every model of the folder in a process that will fork workers; return their names.

    The process does not see models that are added later. It prints the name of each model on stderr before it
    loads the model; if the load then never ends, the consumer can name the model. `preload` predicts nothing;
    `warm_up` does.

    Raises:
        ModelError: the folder has no model, or some models cannot be used; the message has the reason for each.
    """
    folder = models_folder()
    freeze(folder)
    if not (files := every(folder)):
        raise ModelError(nothing_in(folder))
    refusals = []
    for file in files:
        sys.stderr.write(f"loading {file}\n")
        sys.stderr.flush()
        try:
            _loaded(file)
        except ModelError as refused:
            refusals.append(str(refused))
    if refusals:
        raise ModelError("\n".join(refusals))
    return [_loaded(file).name for file in files]


def warm_up() -> None:
    """Classify a signal with every loaded model, so that workers start with the memory that first calls allocate.

    It does so twice: some libraries choose their code path in the first call and allocate for it in the second.
    """
    for chosen in [*_models.values()] * 2:
        _, longest = chosen.manifest.training.lengths
        _answers(chosen, extract(np.sin(np.arange(float(longest))))[None, :])


#: The loaded models. The folder bounds their number, because a name without a file is refused.
_models: dict[Path, Model] = {}


def loaded() -> dict[str, str]:
    """Return the `model_sha256` of each loaded model, by the model's name."""
    return {model.name: model.manifest.sha256 for model in _models.values()}


def default_model() -> str | None:
    """Return the model of jobs that name none; None if jobs must name one."""
    return default(models_folder())


def _loaded(path: Path) -> Model:
    if path not in _models:
        _models[path] = estimators.load(path)
    return _models[path]


def _answers(chosen: Model, features: Features) -> list[dict[str, object]]:
    classes = chosen.manifest.classes
    return [
        {
            "label": classes[int(row.argmax())],
            "probabilities": dict(zip(classes, row.tolist(), strict=True)),
            "model": chosen.name,
            "model_sha256": chosen.manifest.sha256,
        }
        for row in chosen.estimator.predict_proba(features)
    ]
