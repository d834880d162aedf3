"""`consumer health`: queries the consumer on this machine, for probes that run a command (exec).

The exit code is 0 if the consumer is healthy, and 1 if it is unhealthy or does not answer, for example because its
event loop is blocked. The command runs every few seconds, so it imports little: neither main.py nor any AMQP code.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from consumer.config import loader
from consumer.errors import ConfigurationError
from consumer.escaping import escaped_lines
from consumer.telemetry import health_client

HELP = "check the local consumer's health, for probes"
EXIT_NOT_HEALTHY = 1


def describe(command: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    command.add_argument(
        "of", nargs="?", choices=("live", "ready"), default="ready", help="what to check; default: ready"
    )
    command.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file with the settings; also CONSUMER_CONFIG"
    )
    command.add_argument(
        "--http-port", dest="http_port", metavar="VALUE", help="the consumer's port; also CONSUMER_HTTP_PORT"
    )
    command.add_argument(
        "--http-host", dest="http_host", metavar="VALUE", help="the consumer's address; also CONSUMER_HTTP_HOST"
    )


def run(arguments: argparse.Namespace) -> int:
    """Query the consumer and print its answer; return the exit code."""
    given = {"http_port": arguments.http_port, "http_host": arguments.http_host}
    flags = {name: value for name, value in given.items() if value is not None}
    settings = loader.load(flags, os.environ, arguments.config)
    if not settings.http_port:
        raise ConfigurationError("http_port is not set, or 0: give the consumer a port, and this command the same")
    is_well, text = health_client.ask(settings.http_host, settings.http_port, f"/{arguments.of}")
    for line in escaped_lines(text, health_client.MAX_ANSWER_BYTES):
        print(line)  # Kubernetes shows it among the pod's events
    return os.EX_OK if is_well else EXIT_NOT_HEALTHY


def main(argv: Sequence[str]) -> NoReturn:
    """Run the command and exit with its code."""
    parser = argparse.ArgumentParser(prog="consumer health", description="Checks the local consumer's health.")
    describe(parser)
    try:
        sys.exit(run(parser.parse_args(argv)))
    except ConfigurationError as error:
        shown = escaped_lines(str(error), health_client.MAX_ANSWER_BYTES)
        print("consumer: " + "\n".join(shown), file=sys.stderr)
        sys.exit(error.exit_code)
