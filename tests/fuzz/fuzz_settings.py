"""An operator's environment and settings file: settings, or a line per fault without a password.

The bytes are entries with NULs between them, which no variable can hold. An entry's first byte says which variable
it is, and beyond the last one that it is the file. A `$` in the AMQP URL stands for the password.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path
from typing import cast

from consumer.config.amqp_url import redacted
from consumer.config.loader import load, unknown_variables
from consumer.config.settings import Settings
from consumer.config.sources import ENV_PREFIX
from consumer.errors import ConfigurationError

MODULES = (
    "consumer.config.loader",
    "consumer.config.setting_group",
    "consumer.config.settings",
    "consumer.config.sources",
    "consumer.config.amqp_url",
    "consumer.escaping",
)
NAMES = tuple(Settings.model_fields)
URL = ENV_PREFIX + "AMQP_URL"
SECRET = "hunter2"  # noqa: S105 - it is what must not be found


class File:
    """A settings file that no disk is needed for."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __str__(self) -> str:
        return "the file"

    def open(self, mode: str) -> io.BytesIO:
        assert mode == "rb"
        return io.BytesIO(self._content)


def one(data: bytes) -> None:
    if SECRET.encode() in data:
        return
    environment, file = _taken_apart(data)
    config = cast("Path", File(file)) if file else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what a regular expression may mean one day
        _load({}, environment, config)
        if URL in environment:
            _load({"amqp_url": environment[URL]}, {}, None)
    unknown_variables(environment)


def _taken_apart(data: bytes) -> tuple[dict[str, str], bytes]:
    environment, file = {}, b""
    for entry in data.split(b"\0"):
        place = entry[0] - ord("A") if entry else -1
        if 0 <= place < len(NAMES):
            environment[ENV_PREFIX + NAMES[place].upper()] = os.fsdecode(entry[1:])
        elif place >= len(NAMES):
            file = entry[1:]
    if URL in environment:
        environment[URL] = environment[URL].replace("$", SECRET)
    return environment, file


def _load(flags: dict[str, str], environment: dict[str, str], config: Path | None) -> None:
    try:
        settings = load(flags, environment, config)
    except ConfigurationError as error:
        _see_told(str(error))
        return
    assert SECRET not in repr(settings)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,100}", settings.prefix)
    for url in settings.amqp_urls:
        redacted(url)


def _see_told(message: str) -> None:
    lines = message.split("\n")
    assert SECRET not in message
    assert all(line and line.replace("\t", "").isprintable() for line in lines)  # as `escaped` says
    assert len(set(lines)) == len(lines)
