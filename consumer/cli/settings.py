"""`consumer settings`: every setting with its default and meaning, in the groups of the code."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Iterator

from consumer.cli.arguments import meaning_and_default
from consumer.config import units
from consumer.config.settings import GROUPS, Settings
from consumer.errors import ConfigurationError

EXAMPLES = ("consumer settings", "consumer settings timeout")
_WIDTH = 79
SOURCES = (
    "Set each as an option (--pool-size 4, --no-declare), as a variable (CONSUMER_POOL_SIZE=4), or as a line of "
    "the TOML file that --config or CONSUMER_CONFIG names (pool_size = 4). An empty variable counts as not set."
)
UNITS = f"Times are {units.TIME_FORMS}. Sizes are {units.SIZE_FORMS}."


def describe(command: argparse.ArgumentParser) -> None:
    """Add the argument."""
    command.add_argument(
        "word", nargs="?", metavar="WORD", help="list only the settings whose names contain this; otherwise all"
    )


def run(arguments: argparse.Namespace) -> int:
    """List the settings; return the exit code."""
    word = (arguments.word or "").lower().replace("-", "_").removeprefix("consumer_")
    lines = list(listed(word))
    if not lines:
        raise ConfigurationError(f"no setting contains {word!r}; `consumer settings` lists all")
    head = [] if word else [textwrap.fill(part, _WIDTH) for part in (SOURCES, UNITS)]
    print("\n".join((*head, *lines)))
    return os.EX_OK


def listed(word: str) -> Iterator[str]:
    """Yield the lines of the settings whose names contain the word, by group."""
    for group in GROUPS:
        names = [name for name in Settings.model_fields if name in group.model_fields and word in name]
        if names:
            yield from ("", group.__doc__ or "")
        for name in names:
            meaning, default = meaning_and_default(name)
            yield textwrap.fill(f"{name} = {default}", _WIDTH, initial_indent=" " * 2, subsequent_indent=" " * 8)
            yield textwrap.fill(meaning, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
