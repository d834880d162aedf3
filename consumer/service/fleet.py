"""Which consumers a jobs queue has, what each runs, and in what they differ, as the management API shows it.

RabbitMQ gives each job to any consumer of the queue. So a consumer that runs another classifier, for example one
that was forgotten, answers a part of the jobs, and neither producers nor operators notice. Each consumer describes
itself in the arguments of its AMQP consumers (consumer_info.py); this module reads them and compares. Changes
nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from consumer.errors import ConsumerError
from consumer.escaping import escaped
from consumer.rabbitmq.management import Console

log = logging.getLogger(__name__)

K = TypeVar("K")

#: Finds the management API for the URL of a RabbitMQ; None if no setting names one.
ConsoleOf = Callable[[str], Console | None]
#: Everything here is foreign text: any program may consume from the queue, with any arguments.
SHOWN_CHARACTERS = 500
#: RabbitMQ collects what the management API shows every 5 s by default.
PATIENCE_S = 30.0
POLL_S = 1.0
#: Without the management API: why consumers cannot be compared, and what to do.
UNKNOWN = "AMQP does not expose which classifier, models and version each runs"
SET_URL = "set management_url to the URL of RabbitMQ's management API, such as http://HOST:15672"
#: For consumers that AMQP counts and the management API does not list.
UNLISTED = (
    "the management API lists a consumer up to 5 s after its start, and those of other users only if this user "
    "has the tag `monitoring`"
)
REMEDY = (
    "each job goes to any of them: stop those that should not run (they return their jobs to the queue), or give "
    "them another `prefix`"
)


@dataclass(frozen=True, slots=True)
class Member:
    """A process that consumes from the jobs queue.

    A field is None if its value is unknown. Another program than this service has only a `name`.

    Attributes:
        name: host and process number, such as `gpu-2:4711`.
        classifier: the function, or the command.
        loaded: the file of the function and each model, with the beginning of their SHA-256.
        version: that of this service.
        pool_size: the number of its slots.
        busy: how many of its slots hold a job.
        since: the time of its start, ISO 8601.
    """

    name: str
    classifier: str | None = None
    loaded: str | None = None
    version: str | None = None
    pool_size: int | None = None
    busy: int | None = None
    since: str | None = None


async def report_differences(console_of: ConsoleOf, url: str, queue: str, us: Member) -> None:
    """Log in what the consumers of the queue at `url` differ, or that this is unknown. `us`: this one.

    The management API lists a consumer seconds after its start. As soon as it lists this one, it lists all that
    started before.
    """
    loop = asyncio.get_running_loop()
    try:
        console = await asyncio.to_thread(console_of, url)
        if console is None:
            log.info(
                "the consumers of %s cannot be compared: %s; %s",
                queue,
                UNKNOWN,
                SET_URL,
                extra={"event": "consumers_unknown"},
            )
            return
        give_up = loop.time() + PATIENCE_S
        while True:
            found = await asyncio.to_thread(members_of, console, queue)
            if us.name in {member.name for member in found} or loop.time() > give_up:
                break
            await asyncio.sleep(POLL_S)
    except ConsumerError as error:
        log.warning("cannot compare the consumers of %s: %s", queue, error, extra={"event": "consumers_unknown"})
        return
    for difference in differences(found, queue):
        log.warning("%s; %s", difference, REMEDY, extra={"event": "consumers_differ"})


def members_of(console: Console, queue: str) -> list[Member]:
    """Query the consumers of a queue.

    Raises:
        BrokerRefusedError, BrokerUnreachableError
    """
    return members(console.consumers(), console.unacked(), queue)


def members(consumers: Iterable[Mapping[str, Any]], unacked: Mapping[str, int], queue: str) -> list[Member]:
    """Read the management API's list of consumers. `unacked`: the unsettled deliveries by channel.

    A process has one channel for all its consumers of the queue: one for its slots, one that fetches ahead.
    """
    by_channel: dict[str, Mapping[str, Any]] = {}
    for consumer in consumers:
        if consumer["queue"]["name"] == queue:
            by_channel.setdefault(_channel(consumer).get("name") or consumer["consumer_tag"], consumer)
    found = [_member(consumer, unacked.get(channel)) for channel, consumer in by_channel.items()]
    return sorted(found, key=lambda member: member.name)


def _channel(consumer: Mapping[str, Any]) -> Mapping[str, Any]:
    return consumer.get("channel_details") or {}


def _member(consumer: Mapping[str, Any], unacked: int | None) -> Member:
    arguments = consumer.get("arguments") or {}
    if "host" in arguments and "pid" in arguments:
        return described(f"{arguments['host']}:{arguments['pid']}", arguments, unacked)
    peer = _channel(consumer).get("peer_host", "unknown host")
    return described(f"{consumer['consumer_tag']} at {peer}", arguments, unacked)


def described(name: str, arguments: Mapping[str, Any], unacked: int | None = None) -> Member:
    """Make a member from the arguments of its AMQP consumer."""
    known = {key: escaped(str(value), SHOWN_CHARACTERS) for key, value in arguments.items()}
    size = int(known["pool_size"]) if known.get("pool_size", "").isdecimal() else None
    return Member(
        escaped(name, SHOWN_CHARACTERS),
        known.get("classifier"),
        known.get("loaded"),
        known.get("version"),
        size,
        unacked if unacked is None or size is None else min(unacked, size),
        known.get("since"),
    )


def differences(members: Sequence[Member], queue: str) -> list[str]:
    """Return a sentence for each difference by which two members would answer the same job differently."""
    ours = [member for member in members if member.classifier is not None]
    strangers = [member.name for member in members if member.classifier is None]
    found = [f"{name} takes jobs from {queue} and is no consumer of this service" for name in strangers]
    by_classifier = grouped((member.classifier or "", member) for member in ours)
    if len(by_classifier) > 1:
        found.append(f"consumers of {queue} run different classifiers: {_listed(by_classifier)}")
    for classifier, same in by_classifier.items():
        by_loaded = grouped((member.loaded or "", member) for member in same)
        if len(by_loaded) > 1:
            found.append(
                f"consumers of {queue} have loaded different versions of {classifier}: {_listed(by_loaded)}"
            )
    by_version = grouped((member.version or "unknown", member) for member in ours)
    if len(by_version) > 1:
        found.append(f"consumers of {queue} have different versions of this service: {_listed(by_version)}")
    return found


def grouped(pairs: Iterable[tuple[K, Member]]) -> dict[K, list[Member]]:
    """Group members by their keys, in the order of the pairs."""
    groups: dict[K, list[Member]] = {}
    for key, member in pairs:
        groups.setdefault(key, []).append(member)
    return groups


def _listed(groups: Mapping[str, Sequence[Member]]) -> str:
    return "; ".join(f"{key or 'nothing'} ({', '.join(one.name for one in of)})" for key, of in groups.items())
