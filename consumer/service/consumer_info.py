"""Describes a consumer for RabbitMQ's console: which consumer runs what, where, and with how many slots.

Every user of the console sees this. So it shows only the files of a command, because an option may be followed by
a secret.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from consumer.config.settings import Settings
from consumer.runners.warm_runner import OWN_CLASSIFIER

#: The console shows the whole text in one cell of a table.
SHOWN_CHARACTERS = 200


def consumer_name() -> str:
    """Name this process: in the names of connections, in consumer tags and in error records."""
    return f"{socket.gethostname()}:{os.getpid()}"


def about(settings: Settings) -> dict[str, str]:
    """Describe what the consumer runs: client properties of its connections, and arguments of its consumer."""
    return {
        "runner": "a program per job" if settings.command else "warm workers",
        "classifier": _classifier(settings)[:SHOWN_CHARACTERS],
        "pool_size": str(settings.pool_size),
    }


def _classifier(settings: Settings) -> str:
    if settings.command:
        program, *words = settings.command
        return " ".join((program, *_files(words)))
    target = settings.classifier or OWN_CLASSIFIER
    return f"{target}, models of {settings.models_dir}" if target == OWN_CLASSIFIER else target


def _files(words: Sequence[str]) -> list[str]:
    return [word for word in words if ("/" in word or "." in word) and Path(word).is_file()]
