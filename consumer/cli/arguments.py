"""Adds and parses the arguments that several commands share: settings, numbers, times, files.

Every setting is a flag of the same name, and a switch a pair: --declare, --no-declare. Numbers are bounded and
never rounded, so a typing error is refused. The parsers of numbers raise argparse's own error: for a plain
ValueError, argparse would show the parser's name.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import get_args

from consumer.cli import setting_flags
from consumer.config import loader, units
from consumer.config.settings import Settings
from consumer.errors import InputError
from consumer.telemetry import log_format
from rabbitmq_classifier_cli import FOLDER, SHARED

log = logging.getLogger("consumer")

#: Longest time that a command waits or repeats, in seconds: a year.
MAX_SECONDS = 31_536_000
#: As many digits as a number that anybody types; Python itself refuses to read some thousands.
_MAX_CHARACTERS = 40
_SHOWN_CHARACTERS = 60
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_STATED = "; default: |; not set: "


def add_settings(command: argparse.ArgumentParser, names: Sequence[str] = (), *, title: str = SHARED) -> None:
    """Add a flag for each setting, or for those in `names`. A missing flag sets no attribute: other sources count.

    Help does not list the flags of the default group.
    """
    group = command.add_argument_group(title)
    group.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file with the settings; default: CONSUMER_CONFIG, otherwise none",
    )
    for name in names or Settings.model_fields:
        text = "; default: ".join(meaning_and_default(name)).replace("%", "%%")
        kind = Settings.model_fields[name].annotation
        metavar = "FILE" if Path in (kind, *get_args(kind)) else "VALUE"
        if name.endswith("_dir"):
            metavar = FOLDER
        group.add_argument(
            option(name),
            dest=setting_flags.destination(name),
            default=argparse.SUPPRESS,
            help=text,
            **({"action": argparse.BooleanOptionalAction} if kind is bool else {"metavar": metavar}),
        )


def option(name: str) -> str:
    """Return the flag of a setting."""
    return "--" + name.replace("_", "-")


def meaning_and_default(name: str) -> tuple[str, str]:
    """Return the meaning and the default of a setting, for people.

    The end of a description states what a default follows from, or what it means that there is none.
    """
    field = Settings.model_fields[name]
    meaning, stated, default = re.split(f"({_STATED})|$", field.description or "", maxsplit=1)
    if stated:
        return meaning, default if stated == "; default: " else f"not set: {default}"
    return meaning, {None: "not set", (): "none"}.get(field.default) or units.shown(name, field.default)


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
    """Load the settings, and log in the format and from the level that they choose.

    Raises:
        ConfigurationError: as `loader.load`.
    """
    settings = loader.load(setting_flags.given(arguments), os.environ, arguments.config)
    log_format.choose(settings.log_format, settings.log_level)
    return settings


def read_file(path: Path) -> bytes:
    """Read a file that the user has named.

    Raises:
        InputError: it cannot be read, or is a named pipe.
    """
    try:
        see_no_named_pipe(path)
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def see_no_named_pipe(path: Path) -> None:
    """Refuse a named pipe, which blocks the reader until a writer opens it.

    The shell's pipes, `<(command)` and `|`, have no name and are accepted.

    Raises:
        InputError
    """
    with suppress(OSError):  # the caller reports a file that it cannot read
        if path.is_fifo() and not path.resolve().is_relative_to("/proc"):
            raise InputError(f"{path} is a named pipe: give a file, or /dev/stdin and redirect it")


def whole(least: int, most: int) -> Callable[[str], int]:
    """Make a type for whole numbers in a range, both ends included."""

    def read(text: str) -> int:
        with suppress(ValueError):
            if least <= (value := units.whole(text)) <= most:
                return value
        raise refusal(text, f"a whole number from {least} to {most}")

    return read


def decimal(least: float, most: float, unit: str) -> Callable[[str], float]:
    """Make a type for numbers in a range, both ends included; `unit` is named in the refusal."""

    def read(text: str) -> float:
        is_number = len(text) <= _MAX_CHARACTERS and _DECIMAL.fullmatch(text)
        if is_number and math.isfinite(value := float(text)) and least <= value <= most:
            return value
        raise refusal(text, f"a number of {unit} from {least:g} to {most:.12g}")

    return read


def duration(least: float, most: float) -> Callable[[str], float]:
    """Make a type for times, with a unit or in seconds, in a range of seconds, both ends included."""

    def read(text: str) -> float:
        with suppress(ValueError):
            if least <= (value := units.seconds(text)) <= most:
                return value
        shown = " to ".join(units.shown("_s", end) for end in (least, most))
        raise refusal(text, f"a time from {shown}: {units.TIME_FORMS}")

    return read


def refusal(text: str, expected: str) -> argparse.ArgumentTypeError:
    """Make the error that names the text and what is expected in its place."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return argparse.ArgumentTypeError(f"{shown!r} is not {expected}")
