"""Adds and parses the arguments that several commands share: settings, numbers, files.

Every setting is a flag of the same name. Numbers are bounded and never rounded, so a typing error is refused. The
parsers of numbers raise argparse's own error: for a plain ValueError, argparse would show the parser's name.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from consumer.config import loader
from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.telemetry import log_format

log = logging.getLogger("consumer")

#: Longest time that a command waits or repeats, in seconds: a year.
MAX_SECONDS = 31_536_000
#: As many digits as a number that anybody types; Python itself refuses to read some thousands.
_MAX_CHARACTERS = 40
_SHOWN_CHARACTERS = 60
_WHOLE = re.compile(r"[+-]?[0-9]+")
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SETTING = "setting_"


def add_settings(command: argparse.ArgumentParser) -> None:
    """Add a flag for each setting. A missing flag sets no attribute, so that other sources count."""
    group = command.add_argument_group(
        "settings", "set each as a flag, as the variable CONSUMER_<NAME>, or in the file of --config"
    )
    group.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file with the settings; also CONSUMER_CONFIG"
    )
    for name, field in Settings.model_fields.items():
        flag = "--" + name.replace("_", "-")
        text = (field.description or "").replace("%", "%%")
        group.add_argument(flag, dest=_SETTING + name, default=argparse.SUPPRESS, metavar="VALUE", help=text)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Load the settings, and warn of variables that look like a misspelt one.

    Raises:
        ConfigurationError: as `loader.load`.
    """
    try:
        return load_settings(arguments)
    finally:  # in the format that was chosen
        for warning in loader.unknown_variables(os.environ):
            log.warning(warning, extra={"event": "setting_unknown"})


def load_settings(arguments: argparse.Namespace) -> Settings:
    """Load the settings, and log in the format that they choose.

    Raises:
        ConfigurationError: as `loader.load`.
    """
    settings = loader.load(_flags(arguments), os.environ, arguments.config)
    log_format.choose(settings.log_format)
    return settings


def choose_log_format(arguments: argparse.Namespace) -> None:
    """Log JSON if the settings ask for it, before they are checked: one that is refused must be a record, too."""
    if loader.asks_for_json(_flags(arguments), os.environ, getattr(arguments, "config", None)):
        log_format.choose("json")


def _flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given as flags."""
    given = vars(arguments).items()
    return {name.removeprefix(_SETTING): value for name, value in given if name.startswith(_SETTING)}


def read_file(path: Path) -> bytes:
    """Read a file that the user has named.

    Raises:
        ConfigurationError: it cannot be read, or is a named pipe.
    """
    try:
        see_no_named_pipe(path)
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


def see_no_named_pipe(path: Path) -> None:
    """Refuse a named pipe, which blocks the reader until a writer opens it.

    The shell's pipes, `<(command)` and `|`, have no name and are accepted.

    Raises:
        ConfigurationError
    """
    with suppress(OSError):  # the caller reports a file that it cannot read
        if path.is_fifo() and not path.resolve().is_relative_to("/proc"):
            raise ConfigurationError(f"{path} is a named pipe: give a file, or /dev/stdin and redirect it")


def whole(least: int, most: int) -> Callable[[str], int]:
    """Make a type for whole numbers in a range, both ends included."""

    def read(text: str) -> int:
        if is_written_as(_WHOLE, text) and least <= (value := int(text)) <= most:
            return value
        raise refusal(text, f"a whole number from {least} to {most}")

    return read


def decimal(least: float, most: float, unit: str) -> Callable[[str], float]:
    """Make a type for numbers in a range, both ends included; `unit` is named in the refusal."""

    def read(text: str) -> float:
        if is_written_as(DECIMAL, text) and math.isfinite(value := float(text)) and least <= value <= most:
            return value
        raise refusal(text, f"a number of {unit} from {least:g} to {most:.12g}")

    return read


def is_written_as(form: re.Pattern[str], text: str) -> bool:
    """Whether a text is a number in plain digits, of a length that somebody may have meant."""
    return len(text) <= _MAX_CHARACTERS and form.fullmatch(text) is not None


def refusal(text: str, expected: str) -> argparse.ArgumentTypeError:
    """Make the error that names the text and what is expected in its place."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return argparse.ArgumentTypeError(f"{shown!r} is not {expected}")
