"""The command `consumer`: reads the arguments, runs one command, turns errors into exit codes.

Each command is a module of this package, with the name that the user types. An error that the user can correct is
one sentence on stderr and the exit code of its class (errors.py). A traceback means a bug.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from consumer._version import VERSION
from consumer.cli import (
    asyncapi,
    check,
    completion,
    demo,
    gateway,
    health,
    local_broker,
    plan,
    process_hardening,
    run,
    settings,
    status,
    try_,
)
from consumer.cli.arguments import choose_log_format
from consumer.cli.dead_letters import command as dead_letters
from consumer.cli.say import say
from consumer.cli.submit import command as submit
from consumer.errors import ConsumerError
from consumer.escaping import escaped_lines
from consumer.telemetry import log_format
from rabbitmq_classifier_cli import CommandParser, add_help_command, sentence

log = logging.getLogger("consumer")

#: The code that a shell shows for a program that Ctrl-C ended.
EXIT_INTERRUPTED = 130
#: The same for one that went on to write to a pipe that nobody reads.
EXIT_NOT_READ = 141


class Command(Protocol):
    """A module that is a command."""

    HELP: str

    @property
    def EXAMPLES(self) -> Sequence[str]:  # noqa: N802 - a constant of the module
        """Two command lines; none if each of its actions has its own."""

    def describe(self, command: argparse.ArgumentParser) -> None:
        """Add the command's own arguments, and the settings that it reads."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Run the command; return its exit code."""


#: In the order in which `--help` and docs/reference.md list them.
COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "run": run,
        "health": health,
        "try": try_,
        "plan": plan,
        "check": check,
        "submit": submit,
        "gateway": gateway,
        "status": status,
        "dead-letters": dead_letters,
        "settings": settings,
        "asyncapi": asyncapi,
        "local-broker": local_broker,
        "demo": demo,
        "completion": completion,
    }
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    arguments = parser().parse_args(argv)
    log_format.install()
    choose_log_format(arguments)
    process_hardening.hide_process()
    for library in ("aio_pika", "aiormq", "asyncio"):  # their warnings repeat ours
        logging.getLogger(library).setLevel(logging.ERROR)
    # There each connection attempt that fails is an error; supervisor.py logs some of them.
    logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)
    try:
        sys.exit(arguments.command(arguments))
    except ConsumerError as error:
        _complain(str(error))
        if getattr(arguments, "json", False):  # a program reads stdout, and expects JSON there
            print(json.dumps({"error": {"message": str(error), "exit_code": error.exit_code}}))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes
        sys.exit(EXIT_NOT_READ)
    except Exception:  # a bug: Python's own exit code would be 1, which here means that jobs failed
        log.exception("this is a bug in the consumer; please report it", extra={"event": "bug"})
        sys.exit(os.EX_SOFTWARE)


def _complain(fault: str) -> None:
    """Report a fault: as a log record where only records are expected, otherwise as a sentence for people."""
    if log_format.is_for_machines():
        what, traceback = log_format.without_traceback(fault)
        log.critical("%s", what, extra={"event": "failed", **traceback})
    else:
        say("consumer: " + "\n".join(escaped_lines(fault, log_format.MAX_CHARACTERS)))


def parser() -> CommandParser:
    """Describe all commands and their arguments."""
    top = CommandParser(
        prog="consumer",
        description="Runs classification jobs from a RabbitMQ queue.",
        examples=("consumer run --classifier mine:classify", "consumer help submit"),
    )
    top.add_argument("--version", action="version", version=f"consumer {VERSION}", help="print the version")
    commands = top.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name, help=module.HELP, description=sentence(module.HELP), examples=module.EXAMPLES
        )
        command.set_defaults(command=module.run)
        module.describe(command)
    add_help_command(commands, top)
    return top
