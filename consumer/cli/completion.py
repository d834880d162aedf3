"""`consumer completion`: the script that completes its commands and options in a shell."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Literal, get_args, get_origin

from consumer.cli.arguments import option
from consumer.cli.main import parser
from consumer.config.settings import Settings
from rabbitmq_classifier_cli import add_completion, completion_script

EXAMPLES = (
    'eval "$(consumer completion bash)"',
    "consumer completion fish > ~/.config/fish/completions/consumer.fish",
)


def describe(command: argparse.ArgumentParser) -> None:
    """Add the argument."""
    add_completion(command)


def run(arguments: argparse.Namespace) -> int:
    """Print the script; return the exit code."""
    print(completion_script(parser(), arguments.shell, values()))
    return os.EX_OK


def values() -> dict[str, Sequence[str]]:
    """Return the choices of each setting that has some, by its option."""
    kinds = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {option(name): get_args(kind) for name, kind in kinds.items() if get_origin(kind) is Literal}
