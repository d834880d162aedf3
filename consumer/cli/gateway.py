"""`consumer gateway`: accepts jobs by HTTP. Needs the extra `http`."""

from __future__ import annotations

import argparse
import os

import uvloop

from consumer.cli.arguments import add_settings, settings_of
from consumer.cli.broker_url import broker_urls
from consumer.errors import ConfigurationError
from consumer.wire import schemas

EXAMPLES = (
    "consumer gateway --gateway-port 8080 --gateway-token-file tokens",
    "consumer gateway --openapi > openapi.json",
)


def describe(command: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    command.add_argument("--openapi", action="store_true", help="only print the contract, an OpenAPI document")
    add_settings(command)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal, or print the contract; return the exit code."""
    settings = settings_of(arguments)
    try:
        from consumer.gateway.app import application  # noqa: PLC0415 - an extra; half a second of imports
        from consumer.gateway.server import serve  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            f"the gateway needs what is not installed ({error.name}): pip install 'rabbitmq-classifier[http]'"
        ) from None
    if arguments.openapi:
        print(schemas.text(application().openapi()), end="")
        return os.EX_OK
    with broker_urls(settings) as urls:
        uvloop.run(serve(settings, urls))
    return os.EX_OK
