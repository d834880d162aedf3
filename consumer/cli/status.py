"""`consumer status`: the state of the queues (queue_state.py) as a table or as JSON, once or repeatedly."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

import uvloop
from rich import box
from rich.console import Console as Terminal
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from consumer.cli.arguments import add_settings, duration, settings_of
from consumer.cli.broker_url import known_url, management
from consumer.cli.queue_state import NAME_CHARACTERS, QueueState, Status, ask
from consumer.dead_letters.model import show_age
from consumer.errors import ConsumerError
from consumer.escaping import escaped
from consumer.service.fleet import grouped

EXAMPLES = ("consumer status --watch", "consumer status --json --dead-letters")
WATCH_S = 2.0
#: Each time a connection is opened and RabbitMQ is asked for every queue: more often would be a load.
MIN_WATCH_S = 0.1
MAX_WATCH_S = 86_400
#: Jobs wait, and nobody takes them.
EXIT_NO_CONSUMER = 1

Ask = Callable[[], Awaitable[Status]]


def describe(command: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    command.add_argument(
        "--watch",
        type=duration(MIN_WATCH_S, MAX_WATCH_S),
        nargs="?",
        const=WATCH_S,
        metavar="TIME",
        help="repeat the output every TIME (at least 100ms; 2s if omitted); default: show it once",
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
    asking = partial(ask, settings, url, management(settings, url), with_dead_letters=arguments.dead_letters)
    return uvloop.run(_show(asking, _as_json if arguments.json else _as_table, arguments.watch))


async def _show(asking: Ask, show: Callable[[Status], None], every_s: float | None) -> int:
    terminal = Terminal()
    if every_s and show is _as_table and terminal.is_terminal:
        with Live(console=terminal, auto_refresh=False) as live:
            while True:
                live.update(await _view(asking), refresh=True)
                await asyncio.sleep(every_s)
    show(status := await asking())
    while every_s:
        await asyncio.sleep(every_s)
        show(await asking())
    return exit_code(status)


def exit_code(status: Status) -> int:
    """Return the exit code for scripts: whether the jobs queue exists, and whether its jobs have a consumer."""
    jobs = status.queues[0]
    if jobs.is_missing:
        return os.EX_CONFIG
    return EXIT_NO_CONSUMER if jobs.ready and not jobs.consumers else os.EX_OK


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
    """Make tables of the queues and consumers, and lines for the rest."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("queue", no_wrap=True)
    for name in ("ready", "unacked", "consumers", "oldest", "in/s", "out/s", "ack/s"):
        table.add_column(name, justify="right", no_wrap=True)
    idle: dict[str, list[str]] = {}
    for queue in status.queues:
        if not queue.is_running:
            idle.setdefault(escaped(queue.state or "", NAME_CHARACTERS), []).append(queue.name)
        table.add_row(*(Text(cell) for cell in _cells(queue)), style="" if queue.is_running else "red")
    # Not a column: the table would be wider than 80 characters, and lose what matters.
    states = [Text(f"{state}: {', '.join(names)}", style="red") for state, names in idle.items()]
    warnings = [Text(f"warning: {warning}", style="bold red") for warning in status.warnings]
    return Group(table, *states, *_consumers(status), *(Text(line) for line in _lines(status)), *warnings)


def _consumers(status: Status) -> Iterator[RenderableType]:
    """Make a table of the consumers for each classifier; nothing without the management API.

    The classifier and what it has loaded are a line of their own: in a column of a narrow terminal they would be
    broken within words.
    """
    by_classifier = grouped(((one.classifier or "", one.loaded or ""), one) for one in status.consumers or [])
    for (classifier, loaded), members in by_classifier.items():
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        table.add_column("consumer", overflow="fold")
        table.add_column("version", no_wrap=True)
        for name in ("busy", "since"):
            table.add_column(name, justify="right", no_wrap=True)
        for one in members:
            busy = "-" if one.pool_size is None else f"{'-' if one.busy is None else one.busy} of {one.pool_size}"
            table.add_row(*(Text(cell or "-") for cell in (one.name, one.version, busy, _age(one.since))))
        yield Text("")
        yield Text(f"classifier: {classifier or '-, another program'}")
        if loaded:
            yield Text(f"loaded:     {loaded}")
        yield table


def _age(since: str | None) -> str:
    """Format how long ago a consumer has started; `-` if it does not say, or is no consumer of this service."""
    try:
        started = datetime.fromisoformat(since or "")
        return show_age((datetime.now(UTC) - started).total_seconds())
    except (ValueError, TypeError):  # TypeError: without a time zone
        return "-"


def _cells(queue: QueueState) -> list[str]:
    counts = (queue.ready, queue.unacked, queue.consumers)
    rates = (queue.published_per_s, queue.delivered_per_s, queue.acked_per_s)
    return [
        queue.name,
        *("-" if count is None else str(count) for count in counts),
        show_age(queue.oldest_s),
        *("-" if rate is None else f"{rate:.1f}" for rate in rates),
    ]


def _slots(status: Status) -> str:
    if status.slots is None:
        return "-"
    if not status.slots and any(queue.consumers for queue in status.queues[:1]):  # the first has the jobs
        return "unknown: the management API lists no consumer"
    ahead = f"; {status.ahead_held or 0} of {status.ahead} jobs fetched ahead" if status.ahead else ""
    return f"{status.slots_busy or 0} of {status.slots} busy{ahead}"


def _lines(status: Status) -> list[str]:
    lines = ["", f"slots: {_slots(status)}"]
    if status.dead_by_model is not None:
        models = ", ".join(f"{model} {count}" for model, count in status.dead_by_model.items()) or "none"
        lines.append(f"dead letters by model: {models}; the oldest is {show_age(status.dead_oldest_s)} old")
    return lines + status.notes
