"""`consumer status`: the state of the queues (queue_state.py) as a table or as JSON, once or repeatedly."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial

from rich import box
from rich.console import Console as Terminal
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from consumer.cli.arguments import add_settings, duration, settings_of
from consumer.cli.broker_url import known_url
from consumer.cli.event_loop import run_async
from consumer.cli.queue_state import NAME_CHARACTERS, QueueState, Status, ask
from consumer.config.amqp_url import split_urls, vhost_of
from consumer.config.settings import Settings
from consumer.dead_letters.model import show_age
from consumer.errors import ConsumerError
from consumer.escaping import escaped
from consumer.local_broker import node as local_broker
from consumer.local_broker.files import DEFAULT_DIR
from consumer.rabbitmq.console import Console

HELP = "show queues, consumers and rates, as RabbitMQ knows them"
EXAMPLES = ("consumer status --watch", "consumer status --json --dead-letters")
WATCH_S = 2.0
#: Each time a connection is opened and RabbitMQ is asked for every queue: more often would be a load.
MIN_WATCH_S = 0.1
MAX_WATCH_S = 86_400

Ask = Callable[[], Awaitable[Status]]


def describe(command: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    command.add_argument(
        "--watch",
        type=duration(MIN_WATCH_S, MAX_WATCH_S),
        nargs="?",
        const=WATCH_S,
        metavar="TIME",
        help="repeat after each TIME, 100ms or more, 2s if none is given; default: show it once",
    )
    command.add_argument(
        "--dead-letters",
        action="store_true",
        help="also count the dead letters of each model, and show the age of the oldest",
    )
    command.add_argument("--json", action="store_true", help="print a line of JSON instead of a table")
    add_settings(command)


def run(arguments: argparse.Namespace) -> int:
    """Show the status once, or until Ctrl-C; return the exit code."""
    settings = settings_of(arguments)
    url = known_url(settings)
    asking = partial(ask, settings, url, _console(settings, url), with_dead_letters=arguments.dead_letters)
    return run_async(_show(asking, _as_json if arguments.json else _as_table, arguments.watch))


def _console(settings: Settings, url: str) -> Console | None:
    """Find the management API: the configured one, or that of the private node."""
    console = Console.of(settings, split_urls(url)[0])  # nodes of one cluster have one login
    if console is None and not settings.amqp_urls and (node := local_broker.status(DEFAULT_DIR)):
        return Console(node.management_url, node.user, node.password, vhost=vhost_of(url), tls=None)
    return console


async def _show(asking: Ask, show: Callable[[Status], None], every_s: float | None) -> int:
    terminal = Terminal()
    if every_s and show is _as_table and terminal.is_terminal:
        with Live(console=terminal, auto_refresh=False) as live:
            while True:
                live.update(await _view(asking), refresh=True)
                await asyncio.sleep(every_s)
    show(await asking())
    while every_s:
        await asyncio.sleep(every_s)
        show(await asking())
    return os.EX_OK


def _as_json(status: Status) -> None:
    print(json.dumps(asdict(status)), flush=True)


def _as_table(status: Status) -> None:
    Terminal().print(rendered(status))


async def _view(asking: Ask) -> RenderableType:
    """Render the table, or why there is none: RabbitMQ may stop and start while somebody watches."""
    try:
        return Group(rendered(await asking()), Text(time.strftime("%H:%M:%S"), style="dim"))
    except ConsumerError as error:
        return Text(f"{time.strftime('%H:%M:%S')} {escaped(str(error), 1000)}")


def rendered(status: Status) -> RenderableType:
    """Make a table of the queues, and lines for the rest."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("queue", no_wrap=True)
    for name in ("ready", "unacked", "consumers", "oldest", "in/s", "out/s", "ack/s"):
        table.add_column(name, justify="right", no_wrap=True)
    if any(queue.state not in (None, "running") for queue in status.queues):
        table.add_column("state", no_wrap=True)
    for queue in status.queues:
        style = "red" if queue.state not in (None, "running") else ""
        table.add_row(*(Text(cell) for cell in _cells(queue)[: len(table.columns)]), style=style)
    return Group(table, *(Text(line) for line in _lines(status)))


def _cells(queue: QueueState) -> list[str]:
    counts = (queue.ready, queue.unacked, queue.consumers)
    rates = (queue.published_per_s, queue.delivered_per_s, queue.acked_per_s)
    return [
        queue.name,
        *("-" if count is None else str(count) for count in counts),
        show_age(queue.oldest_s),
        *("-" if rate is None else f"{rate:.1f}" for rate in rates),
        escaped(queue.state or "-", NAME_CHARACTERS),
    ]


def _slots(status: Status) -> str:
    if status.slots is None:
        return "-"
    ahead = f"; {status.ahead_held or 0} of {status.ahead} jobs fetched ahead" if status.ahead else ""
    return f"{status.slots_busy or 0} of {status.slots} busy{ahead}"


def _lines(status: Status) -> list[str]:
    lines = ["", f"slots: {_slots(status)}"]
    if status.dead_by_model is None:
        lines.append("dead letters by model: - (shown with --dead-letters)")
    else:
        models = ", ".join(f"{model} {count}" for model, count in status.dead_by_model.items()) or "none"
        lines.append(f"dead letters by model: {models}; the oldest is {show_age(status.dead_oldest_s)} old")
    if status.slots is None:
        lines.append('"-": not available over AMQP; set management_url for more')
    return lines
