"""The command `consumer`: reads the arguments, runs one command, turns errors into exit codes.

Each command is a module of this package, with the name that the user types. An error that the user can correct is
one sentence on stderr and the exit code of its class (errors.py). A traceback means a bug.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol, cast

from consumer._version import VERSION
from consumer.cli import process_hardening, setting_flags
from consumer.cli.say import say
from consumer.config.sources import asks_for_json
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

    @property
    def EXAMPLES(self) -> Sequence[str]:  # noqa: N802 - a constant of the module
        """Two command lines; none if each of its actions has its own."""

    def describe(self, command: argparse.ArgumentParser) -> None:
        """Add the command's own arguments, and the settings that it reads."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Run the command; return its exit code."""


class Listed(NamedTuple):
    """A command in the list of commands: its module in this package, and what it does, in one line."""

    module: str
    help: str

    def load(self) -> Command:
        """Import the module. Most of the others would be imported in vain: they take 0.2 s of CPU."""
        return cast(Command, importlib.import_module(f"consumer.cli.{self.module}"))

    def describe(self, parser: CommandParser) -> None:
        """Add the command's examples and arguments to its parser."""
        command = self.load()
        parser.examples = command.EXAMPLES
        parser.set_defaults(command=command.run)
        command.describe(parser)


#: In the order in which `--help` and docs/reference.md list them.
COMMANDS: Mapping[str, Listed] = MappingProxyType(
    {
        "run": Listed("run", "run the service: take jobs until SIGTERM or Ctrl-C"),
        "health": Listed("health", "check the local consumer's health, for probes"),
        "try": Listed("try_", "run one job here, without RabbitMQ, and show its outcome"),
        "plan": Listed("plan", "compute how many slots and consumers a latency target needs"),
        "check": Listed("check", "find faults before the service starts; changes nothing"),
        "submit": Listed("submit.command", "publish jobs and wait for their replies"),
        "gateway": Listed("gateway", "accept jobs over HTTP, for callers without AMQP"),
        "status": Listed("status", "show queues, consumers and rates, as RabbitMQ knows them"),
        "dead-letters": Listed("dead_letters.command", "list, show, replay or delete jobs that failed for good"),
        "settings": Listed("settings", "list all settings with their defaults"),
        "asyncapi": Listed("asyncapi", "print the contract with producers as an AsyncAPI 3 document"),
        "local-broker": Listed("local_broker", "start or stop a private RabbitMQ node in this folder"),
        "demo": Listed("demo", "show the whole service once: broker, model, consumer, jobs, dead letters"),
        "completion": Listed("completion", "print a script for the completion of commands in a shell"),
    }
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    arguments = parser().parse_args(argv)
    log_format.install()
    _choose_log_format(arguments)
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


def _choose_log_format(arguments: argparse.Namespace) -> None:
    """Log JSON if the settings ask for it, before they are checked: one that is refused must be a record, too."""
    if asks_for_json(setting_flags.given(arguments), os.environ, getattr(arguments, "config", None)):
        log_format.choose("json")


def _complain(fault: str) -> None:
    """Report a fault: as a log record where only records are expected, otherwise as a sentence for people."""
    if log_format.is_for_machines():
        what, traceback = log_format.without_traceback(fault)
        log.critical("%s", what, extra={"event": "failed", **traceback})
    else:
        say("consumer: " + "\n".join(escaped_lines(fault, log_format.MAX_CHARACTERS)))


def parser() -> CommandParser:
    """Describe all commands. The parser of each adds its arguments at its first use."""
    top = CommandParser(
        prog="consumer",
        description="Runs classification jobs from a RabbitMQ queue.",
        examples=("consumer run --classifier mine:classify", "consumer help submit"),
    )
    top.add_argument("--version", action="version", version=f"consumer {VERSION}", help="print the version")
    commands = top.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, entry in COMMANDS.items():
        commands.add_parser(name, help=entry.help, description=sentence(entry.help), describe=entry.describe)
    add_help_command(commands, top)
    return top
