"""`consumer local-broker`: starts and stops a private RabbitMQ node in a folder."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

from consumer.local_broker import node
from consumer.local_broker.files import DEFAULT_DIR

log = logging.getLogger("consumer")

HELP = "start or stop a private RabbitMQ node in this folder"
#: As in the LSB and `systemctl status`: program is not running.
EXIT_NOT_RUNNING = 3


def describe(command: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    command.add_argument(
        "action", choices=("up", "down", "status"), help="start the node, stop it, or show its addresses"
    )
    command.add_argument(
        "--data", type=Path, default=DEFAULT_DIR, help="folder of the node; default: .local-broker"
    )


def run(arguments: argparse.Namespace) -> int:
    """Start or stop the node, or show its addresses; return the exit code."""
    match arguments.action:
        case "up":
            print(node.up(arguments.data, report=log.info).describe())
        case "down":
            print("stopped" if node.down(arguments.data) else "no node was running")
        case _:
            running = node.status(arguments.data)
            print(running.describe() if running else f"no node runs in {arguments.data}")
            return os.EX_OK if running else EXIT_NOT_RUNNING
    return os.EX_OK
