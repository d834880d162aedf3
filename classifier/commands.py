"""Implements the commands of `classifier`: each calls functions of the packages and prints the result."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path

from classifier import jobs_file
from classifier.contract import JobError
from classifier.errors import RefusedError
from classifier.models import model
from classifier.models import trust as trust_pins
from classifier.models.folder import is_name, models_folder
from classifier.signals import datasets


def train(given: argparse.Namespace) -> None:
    from classifier.training.train_command import Wanted, run  # noqa: PLC0415 - see cli.py

    out = _new_model(given.out)
    pins = trust_pins.pins_of(out.parent) if given.trust else None
    wanted = Wanted(given.data, given.test, out, given.onnx, given.skops, pins, given.plot, given.reshuffles)
    for line in run(wanted):
        say(line)


def _new_model(out: Path) -> Path:
    path = _model_path(out)
    for suffix, form, flag in ((model.ONNX_SUFFIX, "ONNX", "--onnx"), (model.SKOPS_SUFFIX, "skops", "--skops")):
        if path.name.endswith(suffix):
            name = model.name_of(path.name)
            raise RefusedError(
                f"{path} is the {form} file of the model {name!r}; give --out {path.with_name(name)} {flag}"
            )
    if not is_name(path.stem):
        raise RefusedError(
            f"{path.stem!r} is not a valid name for a model; use up to 64 letters, digits, '.', '_' or '-'"
        )
    return path


def _model_path(given: Path) -> Path:
    if not given.name:
        raise RefusedError(f"{given} is a folder, not a model; give a name, such as models/pumps")
    return given if given.suffix == model.SUFFIX else given.with_name(given.name + model.SUFFIX)


def predict(given: argparse.Namespace) -> None:
    from classifier.classify import classify, classify_all  # noqa: PLC0415 - see cli.py

    folder = given.models or models_folder()
    if datasets.is_data(given.file):
        data = datasets.read(given.file, required=False)
        answers = classify_all(data.signals, folder, given.model)
        _describe(given.file, data)
        say(*map(json.dumps, answers))
        return
    entries = jobs_file.read(given.file)
    faults = 0
    for place, job, fault in entries:
        wrong = f"{place} {fault}"
        if job is not None:
            try:
                say(json.dumps(classify(job | ({"model": given.model} if given.model else {}), folder)))
                continue
            except JobError as bad:
                wrong = f"{place}: {bad}"
        if len(entries) == 1:
            raise RefusedError(wrong)
        faults += 1
        sys.stderr.write(f"classifier: {wrong}\n")
    if faults:
        raise RefusedError(f"{faults} of {len(entries)} jobs in {given.file} have no result")


def _describe(path: Path, data: datasets.DataSet) -> None:
    """Report on stderr how the file was read, because stdout is for results and jobs."""
    from classifier.training import report  # noqa: PLC0415 - see cli.py

    sys.stderr.write(f"{report.read_line(path, data)}\n")


def info(given: argparse.Namespace) -> None:
    from classifier.training import report  # noqa: PLC0415 - see cli.py

    path = _files_of(given.file)[0]  # for a name without a suffix, the form that is served
    name, manifest = model.name_of(path.name), model.read_manifest(path)
    refusal = _refusal(path)
    if given.json:
        say(json.dumps({"name": name, **asdict(manifest), "trusted": refusal is None}, indent=2))
    else:
        say(*report.manifest_lines(name, manifest), report.trust_line(refusal))


def _files_of(given: Path) -> list[Path]:
    """Return the files of a model, in the order of serving; if `given` names one file, return only that."""
    path = _model_path(given)
    if given == path or path != model.beside(path, model.SUFFIX):
        return [path]
    forms = [model.beside(path, suffix) for suffix in model.SUFFIXES]
    if found := [form for form in forms if form.exists()]:
        return found
    if given.is_file():  # such as a pickle that another program wrote
        raise model.ModelError(model.not_of_this_format(given))
    return [path]


def _refusal(path: Path) -> str | None:
    try:
        trust_pins.check(path, model.content_of(path))
    except model.ModelError as refused:
        return str(refused)
    return None


def trust(given: argparse.Namespace) -> None:
    for path in [file for name in given.models for file in _files_of(name)]:
        pins = trust_pins.pins_of(path.parent, given.pins)
        content = model.content_of(path)
        manifest, _ = model.parse(path, content)
        digest = trust_pins.trust(path, content, pins)
        code = "; a pickle runs code when it is loaded" if manifest.kind == "pickle" else ""
        say(f"{path} ({manifest.kind}, made {manifest.created}) is trusted by {pins}: {digest}{code}")


def jobs(given: argparse.Namespace) -> None:
    data = datasets.read(given.data, required=given.labels)
    if given.describe:
        _describe(given.data, data)
    chosen = {"model": given.model} if given.model else {}
    for signal, label in zip_longest(data.signals, data.labels):
        expected = {"expected": label} if given.labels else {}
        say(json.dumps({"signal": signal.tolist(), **chosen, **expected}))


def generate(given: argparse.Namespace) -> None:
    from classifier.signals import machines  # noqa: PLC0415 - see cli.py
    from classifier.training import report  # noqa: PLC0415 - see cli.py

    data = machines.generate(given.per_class, given.seed)
    datasets.write(given.out, data)
    say(report.data_line("written", data) + f", to {given.out}")


def say(*lines: str) -> None:
    with writing():
        sys.stdout.writelines(f"{line}\n" for line in lines)


@contextmanager
def writing() -> Iterator[None]:
    """Raise RefusedError if the block cannot write to standard output."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as full:
        drop_stdout()
        raise RefusedError(f"cannot write to standard output: {full.strerror}") from None


def drop_stdout() -> None:
    """Redirect stdout to /dev/null, so that Python's own flush at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
