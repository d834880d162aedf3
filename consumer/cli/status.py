"""`consumer status`: what RabbitMQ knows of the service's queues, for a person or a program. Touches no message.

AMQP tells how many messages are ready and how many consumers there are. All else only the management API knows,
and where that was not asked, or does not know either, there is a `-`, never a guess.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiormq.exceptions
from aio_pika.abc import AbstractConnection
from rich import box
from rich.console import Console as Terminal
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from consumer.cli.arguments import decimal
from consumer.config.settings import Settings
from consumer.dead_letters import operations
from consumer.dead_letters.model import show_age
from consumer.dead_letters.operations import LetterQueue
from consumer.errors import BrokerRefusedError, ConsumerError
from consumer.escaping import escaped
from consumer.rabbitmq.connection import CALL_TIMEOUT_S, connection, is_away, refusal_explained, throwaway_channel
from consumer.rabbitmq.console import Console
from consumer.rabbitmq.management import ManagementRefusedError, api
from consumer.wire.topology import Topology

WATCH_S = 2.0
#: Each time a connection is made and RabbitMQ is asked for every queue: more often would be a load.
MIN_WATCH_S = 0.1
MAX_WATCH_S = 86_400
#: Models that are counted by name; a stranger can write any number of them.
MODELS = 20
NAME_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class QueueState:
    """One queue; None for what is not known. `state`: as RabbitMQ says it, or that there is no such queue."""

    name: str
    state: str | None = None
    ready: int | None = None
    unacked: int | None = None
    consumers: int | None = None
    oldest_s: float | None = None
    published_per_s: float | None = None
    delivered_per_s: float | None = None
    acked_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """All that was found. Slots: a consumer's prefetch is their number, what it holds unacked keeps one busy.

    Unless it takes batches, as `batch_size` says: then these are places for jobs, of which slots have many.
    """

    queues: list[QueueState]
    slots: int | None = None
    slots_busy: int | None = None
    dead_by_model: dict[str, int] | None = None
    dead_oldest_s: float | None = None
    batch_size: int = 1


def own_queues(topology: Topology) -> list[str]:
    """Every queue of the service, in the order in which a job meets them."""
    retries = [queue.name for queue in topology.queues() if queue.name.startswith(f"{topology.prefix}.retry.")]
    return [topology.jobs, *retries, topology.dead, topology.results, topology.errors]


def describe(command: argparse.ArgumentParser, add_settings: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the flags."""
    command.add_argument(
        "--watch",
        type=decimal(MIN_WATCH_S, MAX_WATCH_S, "seconds"),
        nargs="?",
        const=WATCH_S,
        metavar="S",
        help="again and again, every 2 s or S seconds, from 0.1 on",
    )
    command.add_argument(
        "--dead-letters",
        action="store_true",
        help="look at the dead letters, too: how many of each model, how old",
    )
    command.add_argument("--json", action="store_true", help="as a line of JSON")
    add_settings(command)


async def run(arguments: argparse.Namespace, settings: Settings, url: str, console: Console | None) -> int:
    """Show it once, or until Ctrl-C."""
    asking = Asking(settings, url, console, with_dead_letters=arguments.dead_letters)
    if arguments.watch is None:
        _show(await asking.ask(), is_json=arguments.json)
        return os.EX_OK
    terminal = Terminal()
    if arguments.json or not terminal.is_terminal:
        while True:
            _show(await asking.ask(), is_json=arguments.json)
            await asyncio.sleep(arguments.watch)
    with Live(console=terminal, auto_refresh=False) as live:
        while True:
            live.update(await _view(asking), refresh=True)
            await asyncio.sleep(arguments.watch)


def _show(status: Status, *, is_json: bool) -> None:
    if is_json:
        sys.stdout.write(json.dumps(asdict(status)) + "\n")
        sys.stdout.flush()
    else:
        Terminal().print(rendered(status))


async def _view(asking: Asking) -> RenderableType:
    """RabbitMQ may come and go while somebody watches."""
    try:
        return Group(rendered(await asking.ask()), Text(time.strftime("%H:%M:%S"), style="dim"))
    except ConsumerError as error:
        return Text(f"{time.strftime('%H:%M:%S')} {escaped(str(error), 1000)}")


@dataclass(frozen=True, slots=True)
class Asking:
    """Whom to ask, and for what."""

    settings: Settings
    url: str
    console: Console | None
    with_dead_letters: bool = False

    async def ask(self) -> Status:
        """Ask once.

        Raises:
            BrokerUnreachableError, BrokerRefusedError, ConnectionLostError, TryLaterError, ConfigurationError
        """
        topology = self.settings.topology
        queues = await self._queues(own_queues(topology))
        slots = busy = None
        if self.console:
            told = await asyncio.to_thread(_told, self.console, self.console.vhost)
            queues = [more_of(queue, told.queues.get(queue.name), time.time()) for queue in queues]
            slots = told.prefetches[topology.jobs]
            busy = next(queue.unacked for queue in queues if queue.name == topology.jobs)
        models, oldest = await self._dead_letters(topology) if self.with_dead_letters else (None, None)
        return Status(queues, slots, busy, models, oldest, self.settings.batch_size)

    async def _queues(self, names: list[str]) -> list[QueueState]:
        async with connection(self.url, "status", self.settings.credentials) as opened:
            return [await _queue(opened, name, is_stream=name == names[-1]) for name in names]

    async def _dead_letters(self, topology: Topology) -> tuple[dict[str, int], float | None]:
        place = LetterQueue(self.url, topology, self.settings.credentials)
        letters = (await operations.look(place)).letters
        counts = Counter(escaped(letter.model or "-", NAME_CHARACTERS) for letter in letters).most_common()
        models = dict(counts[:MODELS])
        if others := sum(count for _, count in counts[MODELS:]):
            models["(others)"] = others
        died = [letter.died_at for letter in letters if letter.died_at is not None]
        return models, time.time() - min(died) if died else None


async def _queue(opened: AbstractConnection, name: str, *, is_stream: bool) -> QueueState:
    """Ask by a channel of its own: RabbitMQ closes it over a queue that is not there."""
    async with throwaway_channel(opened) as channel:
        with refusal_explained(f"find {name}"):
            try:
                queue = await channel.declare_queue(name, passive=True, timeout=CALL_TIMEOUT_S)
            except aiormq.exceptions.ChannelNotFoundEntity as error:
                return QueueState(name, "node is away" if is_away(error) else "missing")
    declared = queue.declaration_result
    # A stream says 0, whatever is in it.
    return QueueState(name, ready=None if is_stream else declared.message_count, consumers=declared.consumer_count)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the management API says: each queue by its name, and the prefetches of its consumers together."""

    queues: dict[str, Mapping[str, Any]]
    prefetches: Counter[str]


def _told(console: Console, name: str) -> _Told:
    where = quote(name, safe="")
    try:
        queues = api(console, "GET", f"queues/{where}", tls=console.tls)
        consumers = api(console, "GET", f"consumers/{where}", tls=console.tls)
    except ManagementRefusedError as error:
        if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise BrokerRefusedError(
                f"the management API at {console.management_url} refused the user {console.user!r}: give it the "
                "tag `monitoring`, and permissions in the virtual host, or put another login into management_url"
            ) from None
        raise
    prefetches: Counter[str] = Counter()
    for consumer in consumers:
        prefetches[consumer["queue"]["name"]] += consumer["prefetch_count"]
    return _Told({queue["name"]: queue for queue in queues}, prefetches)


def more_of(queue: QueueState, told: Mapping[str, Any] | None, now: float) -> QueueState:
    """Add what the management API says of a queue. What it leaves out it does not know (yet)."""
    if told is None:
        return queue
    rates = told.get("message_stats") or {}
    sent_at = told.get("head_message_timestamp")
    return QueueState(
        queue.name,
        queue.state or told.get("state"),
        told.get("messages") if queue.ready is None else queue.ready,
        told.get("messages_unacknowledged"),
        queue.consumers,
        now - sent_at if isinstance(sent_at, int | float) else None,
        _rate(rates, "publish"),
        _rate(rates, "deliver_get"),
        _rate(rates, "ack"),
    )


def _rate(rates: Mapping[str, Any], name: str) -> float | None:
    rate = (rates.get(f"{name}_details") or {}).get("rate")
    return float(rate) if isinstance(rate, int | float) else None


def rendered(status: Status) -> RenderableType:
    """Make a table and some lines of it."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("queue", no_wrap=True)
    for name in ("ready", "unacked", "consumers", "oldest", "in/s", "out/s", "ack/s"):
        table.add_column(name, justify="right", no_wrap=True)
    if any(queue.state not in (None, "running") for queue in status.queues):
        table.add_column("state", no_wrap=True)
    for queue in status.queues:
        table.add_row(*(Text(cell) for cell in _cells(queue)[: len(table.columns)]))
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


def _lines(status: Status) -> list[str]:
    slots = "-" if status.slots is None else f"{status.slots_busy or 0} of {status.slots} busy"
    lines = ["", f"slots: {slots}" if status.batch_size == 1 else f"places in batches: {slots}"]
    if status.dead_by_model is None:
        lines.append("dead letters by model: - (--dead-letters looks)")
    else:
        models = ", ".join(f"{model} {count}" for model, count in status.dead_by_model.items()) or "none"
        lines.append(f"dead letters by model: {models}; the oldest is {show_age(status.dead_oldest_s)} old")
    if status.slots is None:
        lines.append("- is what AMQP does not tell; set management_url for more")
    return lines
