"""Chooses the RabbitMQ that a command connects to: the configured one, or a private node in this folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from consumer.config.amqp_url import redacted, split_urls
from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.local_broker import node as local_broker
from consumer.local_broker.files import DEFAULT_DIR
from consumer.local_broker.sharing import shared
from consumer.rabbitmq.management import Console

log = logging.getLogger("consumer")


def known_url(settings: Settings) -> str:
    """Return the configured URLs, or that of the private node that runs in this folder.

    Raises:
        ConfigurationError: no URL is set, and no private node runs here.
    """
    if settings.amqp_urls:
        return " ".join(settings.amqp_urls)
    node = local_broker.status(DEFAULT_DIR)
    if node is None:
        raise ConfigurationError(
            f"no RabbitMQ to connect to: amqp_url is not set, and no private node runs in {DEFAULT_DIR}; set "
            "CONSUMER_AMQP_URL, or start a node with `consumer run` or `consumer local-broker up` in this folder"
        )
    return node.amqp_url


def management(settings: Settings, url: str) -> Console | None:
    """Find the management API of the RabbitMQ at `url`: the configured one, or that of the private node.

    Raises:
        ConfigurationError: a setting or a file for it cannot be used.
    """
    if settings.amqp_urls or settings.management_url:
        return Console.of(settings, split_urls(url)[0])  # nodes of one cluster have one login
    node = local_broker.status(DEFAULT_DIR)
    return node.console if node else None


def _log_step(line: str) -> None:
    log.info("%s", line, extra={"event": "private_node_step"})


@contextmanager
def broker_urls(settings: Settings) -> Iterator[Sequence[str]]:
    """Give the configured URLs, or that of a private node; stop the node afterwards unless it has other users.

    Raises:
        ConfigurationError: a file that belongs to the URLs cannot be used.
    """
    if settings.amqp_urls:
        for url in settings.amqp_urls:
            settings.credentials.check(url)
        yield settings.amqp_urls
        return
    log.info(
        "amqp_url (CONSUMER_AMQP_URL) is not set: using a private RabbitMQ node in %s",
        DEFAULT_DIR,
        extra={"event": "private_node_used"},
    )
    with shared(DEFAULT_DIR, _log_step) as node:
        # Without the password: `consumer local-broker` prints it to those who may read the folder.
        log.info(
            "the private node is %s; `consumer local-broker url` prints this URL with its password, and `status` "
            "the login of its console, %s",
            redacted(node.amqp_url),
            node.management_url,
            extra={"event": "private_node_ready"},
        )
        yield [node.amqp_url]
