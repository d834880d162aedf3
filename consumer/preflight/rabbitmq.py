"""Checks RabbitMQ itself: the login, the version, the management API, and the consumer timeout."""

from __future__ import annotations

import re
from typing import Any, Final

from aio_pika.abc import AbstractConnection

from consumer.config.amqp_url import redacted
from consumer.config.settings import Settings
from consumer.errors import BrokerRefusedError, BrokerUnreachableError, ConfigurationError
from consumer.local_broker import node as local_broker
from consumer.local_broker.files import DEFAULT_DIR
from consumer.preflight.context import Site, in_daemon_thread
from consumer.preflight.finding import Finding, blamed, failure, ok, skipped, warning
from consumer.rabbitmq.connection import connection
from consumer.rabbitmq.management import Console

#: The first version whose quorum queues have a message TTL and at-least-once dead-lettering.
OLDEST: Final = (3, 10)
#: These versions require the right to configure for a passive declare, and so for a start with `declare` false.
CONFIGURE_TO_LOOK: Final = ("4.2.6", "4.3.0")


async def connect(site: Site) -> list[Finding]:
    """Connect to each URL; later checks use the first one that works."""
    urls = site.settings.amqp_urls
    if not urls:
        return await _connect_to_private_node(site)
    tried = [await _connect(site, url) for url in urls]
    # The service tries the next node if one does not answer, but stops at one that refuses the login.
    return [_away(one, is_alone=site.connection is None) if isinstance(one, Exception) else one for one in tried]


async def _connect_to_private_node(site: Site) -> list[Finding]:
    unset = warning(
        "amqp_url is not set: `consumer run` uses a private node, which is for development",
        "set CONSUMER_AMQP_URL=amqp://user:password@host:5672/vhost",
    )
    node = await in_daemon_thread(lambda: local_broker.status(DEFAULT_DIR))
    if node is None:
        return [unset, skipped(f"no private node runs in {DEFAULT_DIR}; `consumer run` starts one")]
    tried = await _connect(site, node.amqp_url)
    site.console = node.console
    return [unset, blamed(tried) if isinstance(tried, Exception) else tried]


async def _connect(site: Site, url: str) -> Finding | BrokerUnreachableError:
    opening = connection(url, "check", site.settings.credentials)
    try:
        if site.connection is None:
            site.connection = await site.opened.enter_async_context(opening)
            site.url = url
        else:
            async with opening:
                pass
    except BrokerUnreachableError as error:
        return error
    except (ConfigurationError, BrokerRefusedError) as error:
        return blamed(error)
    return ok(f"{redacted(url)} accepts the login")


def _away(error: BrokerUnreachableError, *, is_alone: bool) -> Finding:
    found = blamed(error)
    return found if is_alone else warning(found.detail, found.remedy)


async def version(site: Site) -> list[Finding]:
    """Check the product and the version."""
    reported = properties(site.connected())
    number = _text(reported.get("version"))
    found = judged_version(_text(reported.get("product")), number, declare=site.settings.declare)
    return [found, *judged_callers(number, is_asked=site.settings.drop_if_caller_gone)]


def properties(opened: AbstractConnection) -> dict[str, Any]:
    """Return the properties that RabbitMQ sent at the login."""
    underlay = opened.transport.connection if opened.transport else None
    return dict(getattr(underlay, "server_properties", {}))


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def judged_version(product: str, reported: str, *, declare: bool) -> Finding:
    """Judge product and version."""
    number = re.match(r"(\d+)\.(\d+)", reported)
    if product != "RabbitMQ" or number is None:
        return failure(
            f"this is {product or 'no name'} {reported}, not RabbitMQ: its queues may lose messages",
            "use RabbitMQ 3.10 or later",
        )
    if (int(number[1]), int(number[2])) < OLDEST:
        return failure(
            f"RabbitMQ {reported} has no quorum queues with message TTL and at-least-once dead-lettering",
            "update it to 3.10 or later",
        )
    if reported in CONFIGURE_TO_LOOK and not declare:
        return warning(
            f"RabbitMQ {reported} requires the right to configure even for a check, as with `declare` = false",
            "use a version before or after, or grant the right to configure",
        )
    return ok(f"RabbitMQ {reported}")


def judged_callers(reported: str, *, is_asked: bool) -> list[Finding]:
    """Judge whether this version reports a missing reply queue to a user who may not configure it."""
    if not (is_asked and reported in CONFIGURE_TO_LOOK):
        return []
    return [
        warning(
            f"drop_if_caller_gone is set, but RabbitMQ {reported} reports a missing reply queue only to users who "
            "may configure `amq.gen-…`: jobs of disconnected callers run all the same",
            "use a version before or after, or grant the right to configure ^amq[.]gen-",
        )
    ]


async def management(site: Site) -> list[Finding]:
    """Check that the management API answers; without it some facts stay unknown."""
    try:
        asked = Console.of(site.settings, site.url) or site.console
        if asked is None:
            return [
                skipped("management_url is not set: facts that only it exposes are unknown", "set management_url")
            ]
        await in_daemon_thread(asked.answers)
    except (ConfigurationError, BrokerRefusedError, BrokerUnreachableError) as error:
        return [
            warning(
                f"management_url cannot be used: {error}",
                "correct it; its user needs the tag `monitoring`, or `management` and a permission in the virtual "
                "host (`rabbitmqctl set_user_tags USER management`)",
            )
        ]
    site.console = asked
    return [ok(f"{asked.management_url} answers")]


async def time_limits(site: Site) -> list[Finding]:
    """Compare the longest job with RabbitMQ's consumer timeout, as far as it is known."""
    console, jobs = site.console, site.topology.jobs
    described = await in_daemon_thread(lambda: console.queue(jobs)) if console else None
    return [judged_time(site.settings, consumer_timeout_s(described or {}))]


def consumer_timeout_s(queue: dict[str, Any]) -> float | None:
    """Return a queue's own consumer timeout from the management API; None if it has none."""
    policy = queue.get("effective_policy_definition") or {}
    limits_ms = [queue.get("arguments", {}).get("x-consumer-timeout"), dict(policy).get("consumer-timeout")]
    known = [float(ms) / 1000 for ms in limits_ms if isinstance(ms, int)]
    return min(known) if known else None


def judged_time(settings: Settings, queue_s: float | None) -> Finding:
    """Compare the longest job with the queue's own timeout, or with the nodes' timeout in the settings."""
    needed, assumed = settings.longest_hold_s, settings.consumer_timeout_s
    if queue_s is not None and queue_s <= needed:
        return failure(
            f"the queue's consumer timeout is {queue_s:g} s, and a job may take {needed:g} s with its settling: "
            "RabbitMQ would redeliver it again and again",
            f"raise the queue's consumer-timeout above {needed * 1000:.0f} (ms), or lower job_timeout_cap_s",
        )
    if queue_s is not None:
        return ok(f"the queue's consumer timeout is {queue_s:g} s, jobs take {needed:g} s at most")
    if assumed == Settings.model_fields["consumer_timeout_s"].default:
        return ok(
            f"jobs take {needed:g} s at most; RabbitMQ's consumer_timeout is assumed to be {assumed:g} s (AMQP "
            "does not expose it)"
        )
    meant = f"{assumed:g} s" if assumed else "off"
    return warning(
        f"consumer_timeout_s says that RabbitMQ's consumer_timeout is {meant}; AMQP does not expose it, and "
        "its default is 1800 s",
        "on each node `rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).'` must print "
        + (f"{{ok,{assumed * 1000:.0f}}}" if assumed else "{ok,undefined}"),
    )
