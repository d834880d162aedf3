"""`consumer health`: asks the consumer on this machine, as a probe that runs a command (exec) wants it.

Exit code 0 for yes, 1 for no, and for no answer, which is what a loop that hangs gives. Imports as little as it
can, for it runs every few seconds: neither main.py nor anything of AMQP.
"""

from __future__ import annotations

import argparse
import http.client
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from consumer.config import loader
from consumer.errors import ConfigurationError
from consumer.escaping import escaped_lines

EXIT_NOT_HEALTHY = 1
#: Less than the second that a Kubernetes probe waits by default would leave nothing for starting Python.
TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 4096
#: Where a consumer that listens on all addresses can be asked.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not listened on here


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command."""
    command.add_argument("of", nargs="?", choices=("live", "ready"), default="ready", help="default: ready")
    command.add_argument("--config", type=Path, metavar="FILE", help="a TOML file; also CONSUMER_CONFIG")
    command.add_argument("--http-port", dest="http_port", metavar="VALUE", help="also CONSUMER_HTTP_PORT")
    command.add_argument("--http-host", dest="http_host", metavar="VALUE", help="also CONSUMER_HTTP_HOST")


def main(argv: Sequence[str]) -> NoReturn:
    """Run the command and exit with its code."""
    parser = argparse.ArgumentParser(prog="consumer health", description="Asks a running consumer how it is.")
    add_arguments(parser)
    try:
        sys.exit(health(parser.parse_args(argv)))
    except ConfigurationError as error:
        print("consumer: " + "\n".join(escaped_lines(str(error), MAX_ANSWER_BYTES)), file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)


def health(arguments: argparse.Namespace) -> int:
    """Ask, and show the answer."""
    host, port = address(arguments, os.environ)
    is_well, text = ask(host, port, f"/{arguments.of}")
    for line in escaped_lines(text, MAX_ANSWER_BYTES):
        print(line)  # noqa: T201 - Kubernetes shows it among the pod's events
    return os.EX_OK if is_well else EXIT_NOT_HEALTHY


def address(arguments: argparse.Namespace, environment: Mapping[str, str]) -> tuple[str, int]:
    """Find where the consumer listens: from the same settings, by the same rules.

    Raises:
        ConfigurationError: it listens nowhere, or nobody can know where.
    """
    given: dict[str, Any] = {"http_port": arguments.http_port, "http_host": arguments.http_host}
    flags = {name: value for name, value in given.items() if value is not None}
    chosen = loader.load(flags, environment, arguments.config)
    if not chosen.http_port:
        raise ConfigurationError("http_port is not set, or 0: give the consumer a port, and this command the same")
    return LOOPBACK.get(chosen.http_host, chosen.http_host), chosen.http_port


def ask(host: str, port: int, page: str) -> tuple[bool, str]:
    """Get a page; return whether it says yes, and what it says."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", page)
        response = connection.getresponse()
        return response.status == http.HTTPStatus.OK, response.read(MAX_ANSWER_BYTES).decode(
            "utf-8", "replace"
        ).strip()
    except (OSError, http.client.HTTPException) as error:
        return False, f"no answer from {host} port {port}: {str(error) or type(error).__name__}"
    finally:
        connection.close()
