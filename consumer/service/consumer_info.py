"""Describes a consumer for RabbitMQ's console and for `consumer status`: what it runs, where, with how many slots.

Every user of the console can read the description. Of a command it contains only the program and the names of
files, because other arguments may be secrets. fleet.py reads the description back and compares consumers by it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from consumer._version import VERSION
from consumer.config.settings import Settings
from consumer.runners.warm_runner import OWN_CLASSIFIER

#: The console shows the whole text in one cell of a table.
SHOWN_CHARACTERS = 200


def consumer_name() -> str:
    """Return the name of this process, `host:pid`, for connections, consumer tags and error records."""
    return f"{socket.gethostname()}:{os.getpid()}"


def about(settings: Settings) -> dict[str, str]:
    """Return the client properties of the connections: facts that do not change while the consumer runs."""
    return {
        "runner": "a program per job" if settings.command else "warm workers",
        "classifier": _classifier(settings)[:SHOWN_CHARACTERS],
        **({"models_dir": str(settings.models_dir)} if is_own(settings) else {}),
        "pool_size": str(settings.pool_size),
    }


def arguments(settings: Settings, loaded: str, since: str) -> dict[str, str]:
    """Return the arguments of the AMQP consumers: the same facts, and those that a reload changes.

    Args:
        settings: the settings.
        loaded: the code and models in service, with digests.
        since: the start of the consumer, ISO 8601.
    """
    host, _, pid = consumer_name().rpartition(":")
    who = {"host": host, "pid": pid, "version": VERSION, "since": since}
    return {**who, **about(settings), **({"loaded": loaded} if loaded else {})}


def _classifier(settings: Settings) -> str:
    if settings.command:
        program, *words = settings.command
        return " ".join((program, *_files(words)))
    return settings.classifier or OWN_CLASSIFIER


def is_own(settings: Settings) -> bool:
    """Whether the service's own classifier runs the jobs."""
    return not settings.command and _classifier(settings) == OWN_CLASSIFIER


def _files(words: Sequence[str]) -> list[str]:
    return [word for word in words if ("/" in word or "." in word) and Path(word).is_file()]
