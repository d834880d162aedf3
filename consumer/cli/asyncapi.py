"""`consumer asyncapi`: the contract with producers, for their tools."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from consumer._version import VERSION
from consumer.cli.arguments import add_settings, settings_of
from consumer.errors import ConfigurationError
from consumer.wire import asyncapi, schemas

EXAMPLES = ("consumer asyncapi > asyncapi.json", "consumer asyncapi --schemas schemas --prefix plaid")


def describe(command: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    command.add_argument(
        "--schemas",
        type=Path,
        metavar="DIR",
        help="also write JSON Schemas of job, reply, progress and error record to DIR; default: none",
    )
    add_settings(command)


def run(arguments: argparse.Namespace) -> int:
    """Print the document, write the schemas; return the exit code."""
    settings = settings_of(arguments)
    if arguments.schemas is not None:
        _write_schemas(arguments.schemas)
    print(schemas.text(asyncapi.document(settings.topology, VERSION)), end="")
    return os.EX_OK


def _write_schemas(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, schema in schemas.documents().items():
            (folder / f"{name}.json").write_text(schemas.text(schema), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{error.filename} cannot be written: {error.strerror}") from None
