"""`consumer run`: the service itself."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial

import uvloop

from consumer.cli.arguments import add_settings, settings_of
from consumer.cli.broker_url import broker_urls, management
from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.preflight.models import no_models
from consumer.runners.files.job_files import JobFiles
from consumer.service.process import serve
from consumer.telemetry import log_format

EXAMPLES = ("consumer run", "consumer run --classifier mine:classify --pool-size 4 --job-timeout-s 5m")
#: The settings that help names: what runs, where, how much at once, for how long, and how it is watched.
MOST_USED = "--amqp-url, --classifier or --command, --pool-size, --job-timeout-s, --http-port, --statsd-host"


def describe(command: argparse.ArgumentParser) -> None:
    """Add the settings."""
    command.description = f"{command.description} Most used: {MOST_USED}."
    add_settings(command)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal; return the exit code."""
    settings = settings_of(arguments)
    if not settings.amqp_urls:  # before a private node is started in vain; otherwise the service checks these
        JobFiles.open(settings.job_dir).close()
        if missing := no_models(settings):
            raise ConfigurationError(f"{missing.detail}; {missing.remedy}")
    with broker_urls(settings) as urls:
        if not settings.amqp_urls and sys.stderr.isatty() and not log_format.is_for_machines():
            print(_example(settings), file=sys.stderr)
        uvloop.run(serve(settings, urls, partial(management, settings)))
    return os.EX_OK


def _example(settings: Settings) -> str:
    """Write the commands of Debian's amqp-tools that publish a job and fetch its reply."""
    topology, url = settings.topology, '"$(consumer local-broker url)"'
    job = '{"signal": [0, 1, 0, -1]}'
    return (
        f"publish a job: amqp-publish --url={url} --routing-key={topology.jobs} --body='{job}'\n"
        f"its reply:     amqp-get --url={url} --queue={topology.results}"
    )
