"""`consumer run`: the service itself."""

from __future__ import annotations

import argparse
import os
from functools import partial

from consumer.cli.arguments import add_settings, settings_of
from consumer.cli.broker_url import broker_urls, management
from consumer.cli.event_loop import run_async
from consumer.runners.files.job_files import JobFiles
from consumer.service.process import serve

HELP = "run the service: take jobs until SIGTERM or Ctrl-C"


def describe(command: argparse.ArgumentParser) -> None:
    """Add the settings."""
    add_settings(command)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; return the exit code."""
    settings = settings_of(arguments)
    if not settings.amqp_urls:  # before a private node is started in vain; otherwise the service checks it
        JobFiles.open(settings.job_dir).close()
    with broker_urls(settings) as urls:
        run_async(serve(settings, urls, partial(management, settings)))
    return os.EX_OK
