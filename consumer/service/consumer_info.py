"""Describes a consumer for RabbitMQ's console and for `consumer status`: what it runs, where, with how many slots.

Every user of the console sees this. So it shows only the files of a command, because an option may be followed by
a secret. fleet.py reads the arguments back and compares consumers by them.
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
    """Name this process: in the names of connections, in consumer tags and in error records."""
    return f"{socket.gethostname()}:{os.getpid()}"


def about(settings: Settings) -> dict[str, str]:
    """Describe what the consumer runs as long as it lives: client properties of its connections."""
    return {
        "runner": "a program per job" if settings.command else "warm workers",
        "classifier": _classifier(settings)[:SHOWN_CHARACTERS],
        **({"models_dir": str(settings.models_dir)} if _is_own(settings) else {}),
        "pool_size": str(settings.pool_size),
    }


def arguments(settings: Settings, loaded: str, since: str) -> dict[str, str]:
    """Describe the consumer at this moment: arguments of its AMQP consumers, which can be replaced after a reload.

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


def _is_own(settings: Settings) -> bool:
    return not settings.command and _classifier(settings) == OWN_CLASSIFIER


def _files(words: Sequence[str]) -> list[str]:
    return [word for word in words if ("/" in word or "." in word) and Path(word).is_file()]
