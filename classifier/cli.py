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
from dataclasses import asdict
from pathlib import Path
from typing import Final, TypeAlias

from classifier import datasets, model, trust
from classifier.contract import JobError
from classifier.errors import RefusedError
from classifier.folder import is_name, models_folder

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
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`head`, say) has enough. Python flushes stdout again at exit, which must not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (datasets.DataError, model.ModelError, JobError, RefusedError) as refused:
        sys.stderr.write(f"classifier: {refused}\n")
        return EXIT_FAILED
    return EXIT_OK


def _train(given: argparse.Namespace) -> None:
    from classifier.train_command import Wanted, run  # noqa: PLC0415 - see the module's docstring

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
    return given if given.suffix == model.SUFFIX else given.with_name(given.name + model.SUFFIX)


def _predict(given: argparse.Namespace) -> None:
    from classifier.classify import classify, classify_all  # noqa: PLC0415 - as above

    folder = given.models or models_folder()
    if datasets.is_data(given.file):
        answers = classify_all(datasets.read(given.file).signals, folder, given.model)
        _say(*map(json.dumps, answers))
        return
    for place, job in _jobs_in(given.file):
        try:
            answer = classify(job | ({"model": given.model} if given.model else {}), folder)
        except JobError as bad:
            raise RefusedError(f"{place}: {bad}") from None
        _say(json.dumps(answer))


def _jobs_in(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """The jobs of a JSON file (one job) or a JSON lines file (one a line), each with its place."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as unreadable:
        raise RefusedError(f"cannot read {path}: {unreadable}") from None
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    for number, body in lines if path.suffix == ".jsonl" else [(0, text)]:
        place = f"{path}, line {number}" if number else str(path)
        try:
            job = json.loads(body)
        except ValueError as malformed:
            raise RefusedError(f"{place} is neither JSON nor a data set by its name: {malformed}") from None
        if not isinstance(job, dict):
            raise RefusedError(f'{place} is not a job: {{"signal": [numbers]}} is one')
        yield place, job


def _info(given: argparse.Namespace) -> None:
    from classifier import report  # noqa: PLC0415 - see the module's docstring

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
    data = datasets.read(given.data)
    chosen = {"model": given.model} if given.model else {}
    for signal, label in zip(data.signals, data.labels, strict=True):
        expected = {"expected": label} if given.labels else {}
        _say(json.dumps({"signal": signal.tolist(), **chosen, **expected}))


def _generate(given: argparse.Namespace) -> None:
    from classifier import machines, report  # noqa: PLC0415 - see the module's docstring

    data = machines.generate(given.per_class, given.seed, given.mains)
    datasets.write(given.out, data)
    _say(report.data_line("written", data) + f", to {given.out}")


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="classifier",
        description="Train classifiers of signals, look at them, and predict without any service.",
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
        from classifier.release import found  # noqa: PLC0415 - see above

        _say(f"{parser.prog} {found()}")
        parser.exit()


def _add_train(commands: _Commands) -> None:
    parser = commands.add_parser("train", help="fit a model on labelled signals, and say how good it is")
    parser.set_defaults(command=_train)
    parser.add_argument("data", type=Path, metavar="DATA", help="training signals: .ts, .tsv, .csv or .npz")
    parser.add_argument("--test", type=Path, metavar="DATA", help="test signals; else 25 %% are held out")
    parser.add_argument("--out", type=Path, metavar="MODEL", required=True, help="e.g. models/pumps")
    parser.add_argument("--onnx", action="store_true", help="also as ONNX, which is served in place of the pickle")
    parser.add_argument("--skops", action="store_true", help="also as skops: scikit-learn's, and no code in it")
    parser.add_argument("--no-trust", dest="trust", action="store_false", help="leave that to `classifier trust`")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw confusion matrix and example signals")
    parser.add_argument("--reshuffles", type=_count, metavar="N", help="also the mean accuracy of N reshuffles")


def _add_predict(commands: _Commands) -> None:
    parser = commands.add_parser("predict", help="answer signals, one line of JSON each")
    parser.set_defaults(command=_predict)
    parser.add_argument("file", type=Path, metavar="FILE", help="a data set, a job (.json) or jobs (.jsonl)")
    parser.add_argument("--model", metavar="NAME", help="else each job's own, the only one, or 'default'")
    parser.add_argument("--models", type=Path, metavar="DIR", help="else CONSUMER_MODELS_DIR, or models")


def _add_info(commands: _Commands) -> None:
    parser = commands.add_parser("info", help="what a model says of itself, without running any of it")
    parser.set_defaults(command=_info)
    parser.add_argument("file", type=Path, metavar="MODEL", help="e.g. models/pumps, or one of its files")
    parser.add_argument("--json", action="store_true", help="the manifest as JSON")


def _add_trust(commands: _Commands) -> None:
    parser = commands.add_parser("trust", help="pin the SHA-256 of models, which may be loaded from then on")
    parser.set_defaults(command=_trust)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="e.g. models/pumps")
    parser.add_argument("--pins", type=Path, metavar="FILE", help=f"else {trust.VARIABLE}, or beside the folder")


def _add_jobs(commands: _Commands) -> None:
    parser = commands.add_parser("jobs", help="signals as jobs, one line of JSON each, to be submitted")
    parser.set_defaults(command=_jobs)
    parser.add_argument("data", type=Path, metavar="DATA", help="signals: .ts, .tsv, .csv or .npz")
    parser.add_argument("--model", metavar="NAME", help="name this model in every job")
    parser.add_argument("--labels", action="store_true", help='put the label into the job, as "expected"')


def _add_generate(commands: _Commands) -> None:
    parser = commands.add_parser("generate", help="make up signals of an electric machine in ten states")
    parser.set_defaults(command=_generate)
    parser.add_argument("--out", type=Path, metavar="DATA", required=True, help="a .csv, .npz or .ts file")
    parser.add_argument("--per-class", type=_count, metavar="N", default=60, help="signals a state (60)")
    parser.add_argument("--seed", type=_seed, metavar="N", default=0, help="another seed, other signals (0)")
    parser.add_argument("--mains", type=_mains, metavar="HZ", default=50.0, help="50 or 60")


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
