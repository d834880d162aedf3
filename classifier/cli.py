"""The `classifier` command: reads arguments and files, calls one function each, prints. It decides nothing.

What the user got wrong is one line on stderr and exit code 1, a wrong argument is argparse's exit code 2, and
a traceback is our bug. A command imports what it alone needs: `--help` does not wait for scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Final, TypeAlias

import rabbitmq_classifier
from classifier import jobs_file
from classifier.contract import JobError
from classifier.errors import RefusedError
from classifier.models import model, trust
from classifier.models.folder import is_name, models_folder
from classifier.signals import datasets

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
#: Of signals a state, or reshuffles: a million take hours.
MAX_COUNT: Final = 1_000_000
MAX_SEED: Final = 2**128 - 1
MAINS_HZ: Final = {"50": 50.0, "50.0": 50.0, "60": 60.0, "60.0": 60.0}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments` (the process's own unless given); the exit code."""
    given = parser().parse_args(arguments)
    try:
        given.command(given)
        _flush()
    except BrokenPipeError:
        # The reader (`head`, say) has enough.
        _drop_stdout()
    except (datasets.DataError, model.ModelError, JobError, RefusedError) as refused:
        sys.stderr.write(f"classifier: {refused}\n")
        return EXIT_FAILED
    return EXIT_OK


def _train(given: argparse.Namespace) -> None:
    from classifier.training.train_command import Wanted, run  # noqa: PLC0415 - see the module's docstring

    out = _new_model(given.out)
    pins = trust.pins_of(out.parent) if given.trust else None
    wanted = Wanted(given.data, given.test, out, given.onnx, given.skops, pins, given.plot, given.reshuffles)
    for line in run(wanted):
        _say(line)


def _new_model(out: Path) -> Path:
    path = _model_path(out)
    for suffix, form, flag in ((model.ONNX_SUFFIX, "ONNX", "--onnx"), (model.SKOPS_SUFFIX, "skops", "--skops")):
        if path.name.endswith(suffix):
            name = model.name_of(path.name)
            raise RefusedError(
                f"{path} is the {form} file of the model {name!r}: give --out {path.with_name(name)} {flag}"
            )
    if not is_name(path.stem):
        raise RefusedError(
            f"a model cannot be called {path.stem!r}: up to 64 letters, digits, '.', '_' or '-' make a name"
        )
    return path


def _model_path(given: Path) -> Path:
    if not given.name:
        raise RefusedError(f"{given} is a folder, not a model: give a name, such as models/pumps")
    return given if given.suffix == model.SUFFIX else given.with_name(given.name + model.SUFFIX)


def _predict(given: argparse.Namespace) -> None:
    from classifier.classify import classify, classify_all  # noqa: PLC0415 - as above

    folder = given.models or models_folder()
    if datasets.is_data(given.file):
        data = datasets.read(given.file, required=False)
        answers = classify_all(data.signals, folder, given.model)
        _describe(given.file, data)
        _say(*map(json.dumps, answers))
        return
    entries = jobs_file.read(given.file)
    faults = 0
    for place, job, fault in entries:
        wrong = f"{place} {fault}"
        if job is not None:
            try:
                _say(json.dumps(classify(job | ({"model": given.model} if given.model else {}), folder)))
                continue
            except JobError as bad:
                wrong = f"{place}: {bad}"
        if len(entries) == 1:
            raise RefusedError(wrong)
        faults += 1
        sys.stderr.write(f"classifier: {wrong}\n")
    if faults:
        raise RefusedError(f"{faults} of {len(entries)} jobs in {given.file} have no answer")


def _describe(path: Path, data: datasets.DataSet) -> None:
    """Report what was read on stderr: stdout is for answers and jobs."""
    from classifier.training import report  # noqa: PLC0415 - see the module's docstring

    sys.stderr.write(f"{report.read_line(path, data)}\n")


def _info(given: argparse.Namespace) -> None:
    from classifier.training import report  # noqa: PLC0415 - see the module's docstring

    path = _files_of(given.file)[0]  # what is called by its name alone is what is served
    name, manifest = model.name_of(path.name), model.read_manifest(path)
    refusal = _refusal(path)
    if given.json:
        _say(json.dumps({"name": name, **asdict(manifest), "trusted": refusal is None}, indent=2))
    else:
        _say(*report.manifest_lines(name, manifest), report.trust_line(refusal))


def _files_of(given: Path) -> list[Path]:
    """The files of the model that is called so, in the order in which they are served; or the one file given."""
    path = _model_path(given)
    if given == path or path != model.pickle_beside(path):
        return [path]
    forms = [path.with_name(model.name_of(path.name) + suffix) for suffix in model.SUFFIXES]
    return [form for form in forms if form.exists()] or [path]


def _refusal(path: Path) -> str | None:
    try:
        trust.check(path, model.content_of(path))
    except model.ModelError as refused:
        return str(refused)
    return None


def _trust(given: argparse.Namespace) -> None:
    for path in [file for name in given.models for file in _files_of(name)]:
        pins = trust.pins_of(path.parent, given.pins)
        content = model.content_of(path)
        manifest, _ = model.parse(path, content)
        digest = trust.trust(path, content, pins)
        code = "; a pickle runs code when it is loaded" if manifest.kind == "pickle" else ""
        _say(f"{path} ({manifest.kind}, made {manifest.created}) is trusted by {pins}: {digest}{code}")


def _jobs(given: argparse.Namespace) -> None:
    data = datasets.read(given.data, required=given.labels)
    if given.describe:
        _describe(given.data, data)
    chosen = {"model": given.model} if given.model else {}
    for signal, label in zip_longest(data.signals, data.labels):
        expected = {"expected": label} if given.labels else {}
        _say(json.dumps({"signal": signal.tolist(), **chosen, **expected}))


def _generate(given: argparse.Namespace) -> None:
    from classifier.signals import machines  # noqa: PLC0415 - see the module's docstring
    from classifier.training import report  # noqa: PLC0415 - see the module's docstring

    data = machines.generate(given.per_class, given.seed, given.mains)
    datasets.write(given.out, data)
    _say(report.data_line("written", data) + f", to {given.out}")


def _say(*lines: str) -> None:
    with _writing():
        sys.stdout.writelines(f"{line}\n" for line in lines)


def _flush() -> None:
    with _writing():
        sys.stdout.flush()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as full:
        _drop_stdout()
        raise RefusedError(f"cannot write to standard output: {full.strerror}") from None


def _drop_stdout() -> None:
    """Python flushes stdout again at exit, which must not fail too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="classifier",
        description="Trains models for signals, shows them, and predicts without the service.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    _add_predict(commands)
    _add_info(commands)
    _add_trust(commands)
    _add_jobs(commands)
    _add_generate(commands)
    return parser


class _Version(argparse.Action):
    """Prints the version and ends; it is looked up only then, as reading it costs milliseconds."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        _say(f"{parser.prog} {rabbitmq_classifier.version()}")
        parser.exit()


def _add_train(commands: _Commands) -> None:
    parser = commands.add_parser("train", help="fit a model on labelled signals, and show how good it is")
    parser.set_defaults(command=_train)
    parser.add_argument("data", type=Path, metavar="DATA", help="training signals: .ts, .tsv, .csv or .npz")
    parser.add_argument(
        "--test", type=Path, metavar="DATA", help="test signals; default: 25 %% of the training signals"
    )
    parser.add_argument(
        "--out", type=Path, metavar="MODEL", required=True, help="name of the model file, e.g. models/pumps"
    )
    parser.add_argument(
        "--onnx", action="store_true", help="also write ONNX, which is served instead of the pickle"
    )
    parser.add_argument(
        "--skops", action="store_true", help="also write skops: scikit-learn's format, without code in it"
    )
    parser.add_argument(
        "--no-trust",
        dest="trust",
        action="store_false",
        help="do not pin the model; `classifier trust` does so later",
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw the confusion matrix and example signals")
    parser.add_argument(
        "--reshuffles", type=_count, metavar="N", help="also show the mean accuracy over N reshuffles"
    )


def _add_predict(commands: _Commands) -> None:
    parser = commands.add_parser("predict", help="classify signals, and print one line of JSON for each")
    parser.set_defaults(command=_predict)
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="data set, job, or a job per line (.jsonl, .ndjson); `-`: standard input",
    )
    parser.add_argument(
        "--model", metavar="NAME", help="name of the model; default: the job's, the only one, or 'default'"
    )
    parser.add_argument(
        "--models", type=Path, metavar="DIR", help="folder of the models; default: CONSUMER_MODELS_DIR, or models"
    )


def _add_info(commands: _Commands) -> None:
    parser = commands.add_parser("info", help="show a model's manifest, without running any of its code")
    parser.set_defaults(command=_info)
    parser.add_argument("file", type=Path, metavar="MODEL", help="name or file of the model, e.g. models/pumps")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")


def _add_trust(commands: _Commands) -> None:
    parser = commands.add_parser("trust", help="pin the SHA-256 of models, so that they may be loaded")
    parser.set_defaults(command=_trust)
    parser.add_argument(
        "models", type=Path, nargs="+", metavar="MODEL", help="name or file of the model, e.g. models/pumps"
    )
    parser.add_argument(
        "--pins", type=Path, metavar="FILE", help=f"file of pins; default: {trust.VARIABLE}, or beside the folder"
    )


def _add_jobs(commands: _Commands) -> None:
    parser = commands.add_parser("jobs", help="write signals as jobs, one line of JSON for each")
    parser.set_defaults(command=_jobs)
    parser.add_argument("data", type=Path, metavar="DATA", help="signals: .ts, .tsv, .csv or .npz")
    parser.add_argument("--model", metavar="NAME", help="name this model in every job")
    parser.add_argument("--labels", action="store_true", help='put each label into its job, as "expected"')
    parser.add_argument("--describe", action="store_true", help="report on stderr how the file was read")


def _add_generate(commands: _Commands) -> None:
    parser = commands.add_parser("generate", help="generate signals of an electric machine in ten states")
    parser.set_defaults(command=_generate)
    parser.add_argument(
        "--out", type=Path, metavar="DATA", required=True, help="file for the signals: .csv, .npz or .ts"
    )
    parser.add_argument(
        "--per-class", type=_count, metavar="N", default=60, help="number of signals of each state; default: 60"
    )
    parser.add_argument(
        "--seed", type=_seed, metavar="N", default=0, help="seed of the random numbers; default: 0"
    )
    parser.add_argument(
        "--mains", type=_mains, metavar="HZ", default=50.0, help="mains frequency: 50 or 60; default: 50"
    )


def _whole(text: str, least: int, most: int) -> int:
    """Bounded, and in plain digits: what a person cannot mean is a slip of the finger."""
    if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:60]!r} is not a whole number from {least} to {most}")


def _seed(text: str) -> int:
    return _whole(text, 0, MAX_SEED)


def _count(text: str) -> int:
    return _whole(text, 1, MAX_COUNT)


def _mains(text: str) -> float:
    if text in MAINS_HZ:
        return MAINS_HZ[text]
    raise argparse.ArgumentTypeError(f"{text[:60]!r} is not a frequency of mains: 50 or 60")
