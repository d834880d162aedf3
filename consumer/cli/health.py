"""`consumer health`: queries the consumer on this machine, for probes that run a command (exec).

The exit code is 0 if the consumer is healthy, and 1 if it is unhealthy or does not answer, for example because its
event loop is blocked. The command runs every few seconds, so it imports little, and no AMQP code.
"""

from __future__ import annotations

import argparse
import os

from consumer.cli.arguments import add_settings, load_settings
from consumer.errors import ConfigurationError
from consumer.escaping import escaped_lines
from consumer.telemetry import health_client

EXAMPLES = ("consumer health live --http-port 8081", "CONSUMER_HTTP_PORT=8081 consumer health ready")
EXIT_NOT_HEALTHY = 1


def describe(command: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    command.add_argument(
        "of",
        nargs="?",
        choices=("live", "ready"),
        default="ready",
        metavar="live|ready",
        help="what to check; default: ready",
    )
    add_settings(command, ("http_port", "http_host"), title="the settings of the consumer")


def run(arguments: argparse.Namespace) -> int:
    """Query the consumer and print its answer; return the exit code."""
    settings = load_settings(arguments)
    if not settings.http_port:
        raise ConfigurationError("http_port is not set, or 0: give the consumer a port, and this command the same")
    is_well, text = health_client.ask(settings.http_host, settings.http_port, f"/{arguments.of}")
    for line in escaped_lines(text, health_client.MAX_ANSWER_BYTES):
        print(line)  # Kubernetes shows it among the pod's events
    return os.EX_OK if is_well else EXIT_NOT_HEALTHY
