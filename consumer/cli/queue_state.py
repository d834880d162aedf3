"""What RabbitMQ knows of the service's queues, over AMQP and from its management API. Touches no message.

AMQP knows how many messages are ready and how many consumers there are. Only the management API knows the rest.
A value is None if nobody asked for it, or if RabbitMQ does not know it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import aiormq.exceptions
from aio_pika.abc import AbstractConnection

from consumer.config.settings import Settings
from consumer.dead_letters import operations
from consumer.dead_letters.operations import LetterQueue
from consumer.escaping import escaped
from consumer.rabbitmq.connection import CALL_TIMEOUT_S, connection, is_away, refusal_explained, throwaway_channel
from consumer.rabbitmq.management import Console
from consumer.service.fleet import REMEDY, SET_URL, UNKNOWN, UNLISTED, Member, differences, members
from consumer.wire.topology import Topology, no_queue

#: Models that are counted by name; producers can write any number of them.
MODELS = 20
NAME_CHARACTERS = 100
MISSING = "missing"


@dataclass(frozen=True, slots=True)
class QueueState:
    """One queue; None for what is not known. `state`: RabbitMQ's word, or that the queue is missing."""

    name: str
    state: str | None = None
    ready: int | None = None
    unacked: int | None = None
    consumers: int | None = None
    oldest_s: float | None = None
    published_per_s: float | None = None
    delivered_per_s: float | None = None
    acked_per_s: float | None = None

    @property
    def is_running(self) -> bool:
        """Whether nothing is known to be wrong with it."""
        return self.state in (None, "running")

    @property
    def is_missing(self) -> bool:
        """Whether RabbitMQ knows no queue of this name."""
        return self.state == MISSING


@dataclass(frozen=True, slots=True)
class Status:
    """All that was found. An unacked job keeps a slot busy, or waits for one.

    `slots`: the prefetch of all normal consumers together. `ahead`: that of the consumers that fetch ahead.
    `ahead_held`: unacked jobs beyond the slots. `warnings`: why jobs are not run, or are run
    differently by different consumers. `notes`: what is unknown, or may be out of date, and why.
    """

    queues: list[QueueState]
    slots: int | None = None
    slots_busy: int | None = None
    ahead: int | None = None
    ahead_held: int | None = None
    dead_by_model: dict[str, int] | None = None
    dead_oldest_s: float | None = None
    consumers: list[Member] | None = None
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


async def ask(settings: Settings, url: str, console: Console | None, *, with_dead_letters: bool) -> Status:
    """Ask once; without a `console` over AMQP only.

    Raises:
        BrokerUnreachableError, BrokerRefusedError, ConnectionLostError, TryLaterError, ConfigurationError
    """
    topology = settings.topology
    async with connection(url, "status", settings.credentials) as opened:
        queues = [await _queue(opened, name, is_stream=name == topology.errors) for name in own_queues(topology)]
    slots = busy = ahead = held = consumers = listed_here = None
    if console:
        known = {queue["name"]: queue for queue in await asyncio.to_thread(console.queues)}
        listed, unacked_of = await asyncio.to_thread(console.consumers), await asyncio.to_thread(console.unacked)
        if queues[0].is_missing:
            listed = []  # RabbitMQ goes on listing the consumers of a deleted queue
        queues = [more_of(queue, known.get(queue.name), time.time()) for queue in queues]
        slots, ahead = prefetches(listed, topology.jobs)
        consumers = members(listed, unacked_of, topology.jobs)
        listed_here = sum(consumer["queue"]["name"] == topology.jobs for consumer in listed)
        if (unacked := next(queue.unacked for queue in queues if queue.name == topology.jobs)) is not None:
            busy, held = min(unacked, slots), max(0, unacked - slots)
    has_letters = with_dead_letters and not any(one.is_missing for one in queues if one.name == topology.dead)
    models, oldest = await _dead_letters(settings, url) if has_letters else (None, None)
    differing = [f"{one}; {REMEDY}" for one in differences(consumers or [], topology.jobs)]
    alarms = [_alarmed(node) for node in await asyncio.to_thread(console.alarmed)] if console else []
    warnings = [*shortcomings(queues), *alarms, *differing]
    unknown = notes(queues[0], listed_here)
    return Status(queues, slots, busy, ahead, held, models, oldest, consumers, warnings, unknown)


def _alarmed(node: str) -> str:
    return (
        f"RabbitMQ's node {escaped(node, NAME_CHARACTERS)} has a memory or disk alarm: it accepts no reply, and "
        "no job ends; `rabbitmq-diagnostics alarms` shows which; free memory or disk space there"
    )


def notes(jobs: QueueState, listed: int | None) -> list[str]:
    """Return what is unknown about the jobs queue. `listed`: its consumers in the management API, None without."""
    if listed is None:
        several = (jobs.consumers or 0) > 1
        compared = [f"the consumers of {jobs.name} cannot be compared: {UNKNOWN}"] if several else []
        return ['"-": not available over AMQP', *compared, f"for more, {SET_URL}"]
    stale = ["oldest, unacked, rates and busy slots are up to 5 s old (collect_statistics_interval of RabbitMQ)"]
    if jobs.consumers is not None and listed < jobs.consumers:
        stale.append(f"{jobs.consumers - listed} of {jobs.consumers} AMQP consumers are not listed: {UNLISTED}")
    return stale


def shortcomings(queues: Sequence[QueueState]) -> list[str]:
    """Return the reasons why no consumer runs jobs. The first queue is the jobs queue."""
    jobs, *others = queues
    if jobs.is_missing and not all(queue.is_missing for queue in others):
        deleted = f"there is no queue {jobs.name!r}, but others of this `prefix`: it was deleted"
        return [f"{deleted}; start a consumer, which creates it; those that run then continue"]
    if jobs.is_missing:
        return [no_queue(jobs.name)]
    if jobs.ready and not jobs.consumers:
        return [
            f"jobs wait in {jobs.name} ({jobs.ready}) and no consumer takes them: start one with `consumer run`"
        ]
    return []


def own_queues(topology: Topology) -> list[str]:
    """List every queue of the service, in the order in which a job meets them."""
    retries = [queue.name for queue in topology.queues() if queue.name.startswith(f"{topology.prefix}.retry.")]
    return [topology.jobs, *retries, topology.dead, topology.results, topology.errors]


async def _queue(opened: AbstractConnection, name: str, *, is_stream: bool) -> QueueState:
    """Ask over a channel of its own: RabbitMQ closes it when the queue is missing."""
    async with throwaway_channel(opened) as channel:
        with refusal_explained(f"find {name}"):
            try:
                queue = await channel.declare_queue(name, passive=True, timeout=CALL_TIMEOUT_S)
            except aiormq.exceptions.ChannelNotFoundEntity as error:
                return QueueState(name, "node is away" if is_away(error) else MISSING)
    declared = queue.declaration_result
    # RabbitMQ says 0 for a stream, whatever it contains.
    return QueueState(name, ready=None if is_stream else declared.message_count, consumers=declared.consumer_count)


def prefetches(consumers: Iterable[Mapping[str, Any]], queue: str) -> tuple[int, int]:
    """Return the prefetch of a queue's normal consumers together, and of those that fetch ahead."""
    both = [0, 0]
    for consumer in consumers:
        if consumer["queue"]["name"] == queue:
            is_ahead = (consumer.get("arguments") or {}).get("x-priority", 0) < 0
            both[is_ahead] += consumer["prefetch_count"]
    return both[0], both[1]


def more_of(queue: QueueState, known: Mapping[str, Any] | None, now: float) -> QueueState:
    """Add what the management API knows of a queue. It omits what it does not know (yet)."""
    if known is None:
        return queue
    rates = known.get("message_stats") or {}
    sent_at = known.get("head_message_timestamp")
    return replace(
        queue,
        state=queue.state or known.get("state"),
        ready=known.get("messages") if queue.ready is None else queue.ready,
        unacked=known.get("messages_unacknowledged"),
        oldest_s=now - sent_at if isinstance(sent_at, int | float) else None,
        published_per_s=_rate(rates, "publish"),
        delivered_per_s=_rate(rates, "deliver_get"),
        acked_per_s=_rate(rates, "ack"),
    )


def _rate(rates: Mapping[str, Any], name: str) -> float | None:
    rate = (rates.get(f"{name}_details") or {}).get("rate")
    return float(rate) if isinstance(rate, int | float) else None


async def _dead_letters(settings: Settings, url: str) -> tuple[dict[str, int], float | None]:
    """Count the dead letters of each model; return the age of the oldest, too."""
    letters = (await operations.look(LetterQueue(url, settings.topology, settings.credentials))).letters
    counts = Counter(escaped(letter.model or "-", NAME_CHARACTERS) for letter in letters).most_common()
    models = dict(counts[:MODELS])
    if others := sum(count for _, count in counts[MODELS:]):
        models["(others)"] = others
    died = [letter.died_at for letter in letters if letter.died_at is not None]
    return models, time.time() - min(died) if died else None
