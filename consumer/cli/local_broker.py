"""`consumer local-broker`: starts and stops a private RabbitMQ node in a folder, and prints how to reach it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from consumer.cli.say import say
from consumer.local_broker import node, sharing
from consumer.local_broker.files import DEFAULT_DIR

EXAMPLES = ("consumer local-broker up", "url=$(consumer local-broker url)")
#: As in the LSB and `systemctl status`: program is not running.
EXIT_NOT_RUNNING = 3


def describe(command: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    command.add_argument(
        "action",
        choices=("up", "down", "status", "url"),
        metavar="up|down|status|url",
        help="start the node, stop it, show its addresses and login, or print its AMQP URL alone, for $(...)",
    )
    command.add_argument("--data", type=Path, default=DEFAULT_DIR, metavar="DIR", help="folder of the node")


def run(arguments: argparse.Namespace) -> int:
    """Start or stop the node, or show its addresses; return the exit code."""
    match arguments.action:
        case "up":
            started = node.up(arguments.data, report=say)
            sharing.keep(arguments.data)
            print(started.describe())
        case "down":
            print("stopped" if node.down(arguments.data) else "no node was running")
        case asked:
            running = node.status(arguments.data)
            if running is None:
                say(f"no node runs in {arguments.data}; `consumer local-broker up` starts one")
                return EXIT_NOT_RUNNING
            print(running.amqp_url if asked == "url" else running.describe())
    return os.EX_OK
