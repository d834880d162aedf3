"""`consumer completion`: the script that completes its commands and options in a shell."""

from __future__ import annotations

import argparse
import os

from rabbitmq_classifier_cli import add_completion, completion_script

HELP = "print a script for the completion of commands in a shell"
EXAMPLES = (
    'eval "$(consumer completion bash)"',
    "consumer completion fish > ~/.config/fish/completions/consumer.fish",
)


def describe(command: argparse.ArgumentParser) -> None:
    """Add the argument."""
    add_completion(command)


def run(arguments: argparse.Namespace) -> int:
    """Print the script; return the exit code."""
    from consumer.cli.main import parser  # noqa: PLC0415 - it imports this module

    print(completion_script(parser(), arguments.shell))
    return os.EX_OK
