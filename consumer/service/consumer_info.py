"""What RabbitMQ is told of a consumer, so that its console says which one runs what, where, and how many at once.

Whoever may see the console sees this: so of a command only its files, as an option may be followed by a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from consumer.config.settings import Settings
from consumer.runners.warm_runner import OWN_CLASSIFIER

#: The console shows all of it in one cell of a table.
SHOWN_CHARACTERS = 200


def about(settings: Settings) -> dict[str, str]:
    """Name what the consumer runs: client properties of its connections, and arguments of its consumer."""
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
