"""The command `classifier`: reads the arguments, runs one command, turns errors into exit codes.

A user's error prints one line on stderr and has exit code 1; a wrong argument has argparse's exit code 2; a
traceback is a bug. Each command imports its own libraries, so that `--help` does not wait for scikit-learn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from classifier.commands import drop_stdout, generate, info, jobs, predict, say, train, trust, writing
from classifier.contract import JobError
from classifier.errors import RefusedError
from classifier.models.model import ModelError
from classifier.models.trust import VARIABLE
from classifier.signals.datasets import DataError
from rabbitmq_classifier_cli import (
    CommandParser,
    add_completion,
    add_help_command,
    completion_script,
    sentence,
    version,
)

_Commands: TypeAlias = "argparse._SubParsersAction[CommandParser]"  # noqa: SLF001 - it has no public name
Command: TypeAlias = Callable[[argparse.Namespace], None]

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
#: The limit of --per-class and --reshuffles. A million already takes hours.
MAX_COUNT: Final = 1_000_000
MAX_SEED: Final = 2**128 - 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments`, by default the process's own; return the exit code."""
    given = parser().parse_args(arguments)
    try:
        given.command(given)
        with writing():
            sys.stdout.flush()  # so that a full disk is reported here and not at exit
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe.
        drop_stdout()
    except (DataError, ModelError, JobError, RefusedError) as refused:
        sys.stderr.write(f"classifier: {refused}\n")
        return EXIT_FAILED
    return EXIT_OK


def parser() -> CommandParser:
    parser = CommandParser(
        prog="classifier",
        description="Trains models for signals, shows them, and predicts without the service.",
        examples=("classifier train signals.csv --out models/pumps", "classifier help predict"),
    )
    parser.add_argument("--version", action="version", version=f"classifier {version()}", help="print the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    _add_train(commands)
    _add_predict(commands)
    _add_info(commands)
    _add_trust(commands)
    _add_jobs(commands)
    _add_generate(commands)
    _add_completion(commands)
    add_help_command(commands, parser)
    return parser


def _add(commands: _Commands, command: Command, about: str, *examples: str) -> CommandParser:
    """Add a command with its line in the list of commands, and two examples."""
    parser = commands.add_parser(command.__name__, help=about, description=sentence(about), examples=examples)
    parser.set_defaults(command=command)
    return parser


def _add_train(commands: _Commands) -> None:
    parser = _add(
        commands,
        train,
        "fit a model on labelled signals, and show how good it is",
        "classifier train signals.csv --out models/pumps",
        "classifier train train.ts --test test.ts --out models/plaid --plot plaid.png",
    )
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
        help="do not pin the model; pin it later with `classifier trust`",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="PNG", help="draw the confusion matrix and example signals; default: none"
    )
    parser.add_argument(
        "--reshuffles",
        type=_count,
        metavar="N",
        help="also train and test on N random divisions of all signals, and show the mean accuracy; default: none",
    )


def _add_predict(commands: _Commands) -> None:
    parser = _add(
        commands,
        predict,
        "classify signals, and print one line of JSON for each",
        "classifier predict signals.csv --model pumps",
        "classifier predict jobs.jsonl --models models",
    )
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="data set, job, or a job per line (.jsonl, .ndjson); `-`: standard input",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="name of the model; default: the model that the job names, or the only one in the folder, or "
        "`default`",
    )
    parser.add_argument(
        "--models",
        type=Path,
        metavar="DIR",
        help="folder of the models; default: CONSUMER_MODELS_DIR, or ./models",
    )


def _add_info(commands: _Commands) -> None:
    parser = _add(
        commands,
        info,
        "show a model's manifest, without running any of its code",
        "classifier info models/pumps",
        "classifier info models/pumps.onnx.model --json",
    )
    parser.add_argument("file", type=Path, metavar="MODEL", help="name or file of the model, e.g. models/pumps")
    parser.add_argument("--json", action="store_true", help="print the manifest as JSON")


def _add_trust(commands: _Commands) -> None:
    parser = _add(
        commands,
        trust,
        "pin the SHA-256 of models, so that they may be loaded",
        "classifier trust models/pumps",
        "classifier trust models/*.model --pins /etc/models.trusted",
    )
    parser.add_argument(
        "models", type=Path, nargs="+", metavar="MODEL", help="name or file of the model, e.g. models/pumps"
    )
    parser.add_argument(
        "--pins",
        type=Path,
        metavar="FILE",
        help=f"file of pins; default: {VARIABLE}, or FOLDER.trusted next to the folder of the models",
    )


def _add_jobs(commands: _Commands) -> None:
    parser = _add(
        commands,
        jobs,
        "write signals as jobs, one line of JSON for each",
        "classifier jobs signals.csv > jobs.jsonl",
        "classifier jobs test.ts --model plaid --labels",
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="signals: .ts, .tsv, .csv or .npz")
    parser.add_argument("--model", metavar="NAME", help="name this model in every job; default: none")
    parser.add_argument("--labels", action="store_true", help='put each label into its job, as "expected"')
    parser.add_argument("--describe", action="store_true", help="report on stderr how the file was read")


def _add_generate(commands: _Commands) -> None:
    parser = _add(
        commands,
        generate,
        "generate signals of an electric machine in ten states",
        "classifier generate --out signals.csv",
        "classifier generate --out new.csv --per-class 50 --seed 1",
    )
    parser.add_argument("--out", type=Path, metavar="DATA", required=True, help="file for the signals: .csv")
    parser.add_argument(
        "--per-class", type=_count, metavar="N", default=60, help="number of signals of each state"
    )
    parser.add_argument("--seed", type=_seed, metavar="N", default=0, help="seed of the random numbers")


def _add_completion(commands: _Commands) -> None:
    about = "print a script for the completion of commands in a shell"
    examples = ('eval "$(classifier completion bash)"', "classifier completion zsh > ~/.zfunc/_classifier")
    add_completion(_add(commands, completion, about, *examples))


def completion(given: argparse.Namespace) -> None:
    """Print the completion script for the shell `given.shell`."""
    say(completion_script(parser(), given.shell))


def _whole(text: str, least: int, most: int) -> int:
    """Parse a whole number in plain digits, from `least` to `most`.

    Raises:
        ArgumentTypeError: the text is anything else.
    """
    if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text[:60]!r} is not a whole number from {least} to {most}")


def _seed(text: str) -> int:
    return _whole(text, 0, MAX_SEED)


def _count(text: str) -> int:
    return _whole(text, 1, MAX_COUNT)
