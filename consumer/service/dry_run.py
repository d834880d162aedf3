"""`consumer try`: runs one job without RabbitMQ and prints each step.

It reads, runs and decides with the same code as the service, so it shows what the service would do. Only the
message is made here, and nothing is published.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial

from consumer.config.settings import Settings
from consumer.disposition import decide
from consumer.escaping import escaped_lines
from consumer.job import Invalid, Job, Outcome, Progress, Request, Succeeded, Unsuccessful
from consumer.runners.files.job_files import JobFiles
from consumer.runners.runner import open_runner
from consumer.service.consumer_info import consumer_name
from consumer.telemetry.log_format import MAX_CHARACTERS
from consumer.wire.message import Message
from consumer.wire.read import read_message
from consumer.wire.write import reply


async def attempt(body: bytes, settings: Settings, print_line: Callable[[str], None]) -> bool:
    """Run one job and pass each line of the report to `print_line`; return whether the job succeeded.

    Raises:
        ConfigurationError: the classifier's program or the job folder cannot be used.
    """
    request, job = read(body, settings)
    with JobFiles.opened(settings.job_dir) as files:
        async with open_runner(settings, files, os.environ, size=1) as runner:
            print_line(f"runs         {runner.description}")
            on_progress = partial(_print_progress, print_line)
            outcome = job if isinstance(job, Invalid) else await runner.pool.run(job, on_progress)
    _print_outcome(request, outcome, settings, print_line)
    return isinstance(outcome, Succeeded)


def read(body: bytes, settings: Settings) -> tuple[Request, Job | Invalid]:
    """Read a body as the service reads the body of a message."""
    message = Message(body=body, message_id="try")
    return read_message(message, settings.topology, settings.job_rules)


def _print_progress(print_line: Callable[[str], None], progress: Progress) -> None:
    print_line(f"progress     {progress.fraction:.0%} {progress.text}".rstrip())


def _print_outcome(
    request: Request, outcome: Outcome, settings: Settings, print_line: Callable[[str], None]
) -> None:
    print_line(f"outcome      {type(outcome).__name__}")
    if isinstance(outcome, Unsuccessful):
        print_line(f"code         {outcome.code}")
        print_line(f"message      {outcome.message}")
        if outcome.stderr_tail:
            lines = escaped_lines(outcome.stderr_tail, MAX_CHARACTERS)
            print_line("stderr       " + "\n             ".join(lines))
    print_line(f"run time     {outcome.run_s * 1000:.0f} ms")
    decided = decide(outcome, attempt=request.attempt, max_attempts=settings.max_attempts)
    print_line(
        f"disposition  {decided.settlement.value}" + (" after the reply" if decided.replies else ", no reply yet")
    )
    if decided.replies:
        made = json.loads(reply(request, outcome, consumer=consumer_name()).body)
        print_line("reply        " + json.dumps(made, indent=2).replace("\n", "\n             "))
