"""Runs a job without RabbitMQ, and reports its output and the disposition: `consumer try`, the sample of `check`.

It reads, runs and decides with the code of the service, so the service would do the same with this job. This
module makes the message itself, and publishes nothing.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from consumer.config.settings import Settings
from consumer.disposition import Disposition, decide
from consumer.escaping import escaped_lines
from consumer.job import Invalid, Outcome, Request, Succeeded, Unsuccessful
from consumer.line_breaks import wrapped
from consumer.runners.files.job_files import JobFiles
from consumer.runners.run import OnProgress
from consumer.runners.runner import Runner, open_runner
from consumer.service.consumer_info import consumer_name
from consumer.telemetry.log_format import MAX_CHARACTERS
from consumer.wire.message import Message
from consumer.wire.read import read_message
from consumer.wire.write import reply

#: Receives each event of the run: its kind, and a line of text, which may be foreign.
Notify = Callable[[str, str], None]
#: The event of a log record that quotes a line of the classifier -> the kind of the line.
_PRINTED = {"job_log": "LOG", "output_ignored": "stdout", "stderr_line": "stderr"}
#: The loggers of these events.
_LOGGERS = ("consumer.runners.run", "consumer.telemetry.job_log")
_WIDTH = 13
#: The result of a function without a `return`.
NULL = b"null"
NULL_REMEDY = "return the result from the function, if a `return` is missing"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The request that was read, how its run ended, and what the service would do."""

    request: Request
    outcome: Outcome
    disposition: Disposition

    @property
    def succeeded(self) -> bool:
        """Whether the job has a result."""
        return isinstance(self.outcome, Succeeded)

    @property
    def warning(self) -> str | None:
        """What is probably wrong with a result; None if nothing is known to be."""
        if isinstance(self.outcome, Succeeded) and self.outcome.output == NULL:
            return f"the result is null; {NULL_REMEDY}"
        return None

    @property
    def facts(self) -> dict[str, Any]:
        """All facts, for `--json`.

        `reply` is the reply that the service would publish; None if the disposition has no reply, as for a retry.
        """
        error = self.outcome if isinstance(self.outcome, Unsuccessful) else None
        made = (
            reply(self.request, self.outcome, consumer=consumer_name()).body if self.disposition.replies else None
        )
        return {
            "outcome": type(self.outcome).__name__,
            "code": error and error.code,
            "message": error and error.message,
            "stderr_tail": error and error.stderr_tail,
            "run_ms": round(self.outcome.run_s * 1000, 3),
            "warning": self.warning,
            "disposition": self.disposition.settlement.value,
            "reply": json.loads(made) if made else None,
        }


async def attempt(body: bytes, settings: Settings, notify: Notify) -> Attempt:
    """Run one job, and pass each line that it prints to `notify` at once.

    Raises:
        ConfigurationError: the classifier's program or the job folder cannot be used.
    """
    async with one_slot(settings) as runner:
        notify("runs", runner.description)
        with _printed(notify):
            request, outcome = await run_body(body, settings, runner, _progress(notify))
    return Attempt(request, outcome, decide(outcome, attempt=request.attempt, max_attempts=settings.max_attempts))


@asynccontextmanager
async def one_slot(settings: Settings, environment: Mapping[str, str] = os.environ) -> AsyncIterator[Runner]:
    """Open the runner of the settings with one slot; end it and its job folder at the end of the block.

    Raises:
        ConfigurationError: the classifier's program or the job folder cannot be used.
    """
    with JobFiles.open(settings.job_dir) as files:
        async with open_runner(settings, files, environment, size=1) as runner:
            yield runner


async def run_body(
    body: bytes, settings: Settings, runner: Runner, on_progress: OnProgress = None
) -> tuple[Request, Outcome]:
    """Read a body as the service reads the body of a message, and run its job."""
    message = Message(body=body, message_id="try")
    request, job = read_message(message, settings.topology, settings.job_rules)
    return request, job if isinstance(job, Invalid) else await runner.pool.run(job, on_progress)


def _progress(notify: Notify) -> OnProgress:
    return lambda progress: notify("progress", f"{progress.fraction:.0%} {progress.text}".rstrip())


@contextmanager
def _printed(notify: Notify) -> Iterator[None]:
    """Pass the classifier's lines on, instead of logging them: the service logs most of them only at DEBUG."""
    handler = _Printed(notify)
    before = {logger: (logger.level, logger.propagate) for logger in map(logging.getLogger, _LOGGERS)}
    for logger in before:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in before.items():
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


class _Printed(logging.Handler):
    """Passes on the lines that records quote. Records of other events are logged as usual."""

    def __init__(self, notify: Notify) -> None:
        super().__init__()
        self._notify = notify

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on the line that the record quotes, or else the record."""
        kind = _PRINTED.get(str(getattr(record, "event", "")))
        if kind and isinstance(record.args, tuple):
            self._notify(kind, str(record.args[-1]))
        elif record.levelno >= logging.getLogger().level:
            logging.getLogger().handle(record)


def line(kind: str, text: str) -> str:
    """Format a line of the report. Foreign text is escaped, and its further lines are indented."""
    return f"{kind:<{_WIDTH}}" + f"\n{' ' * _WIDTH}".join(escaped_lines(text, MAX_CHARACTERS))


def report(done: Attempt, width: int | None = None) -> Iterator[str]:
    """Format the end of an attempt as lines. The tail of stderr is shown once, and not again in the reply.

    With a width, that of a terminal, messages are broken between words.
    """
    outcome, facts = done.outcome, done.facts
    if isinstance(outcome, Unsuccessful) and outcome.stderr_tail:
        yield line("stderr", outcome.stderr_tail)
    yield line("outcome", facts["outcome"])
    if isinstance(outcome, Unsuccessful):
        yield line("code", outcome.code)
        yield line("message", _broken(outcome.message, width))
    if done.warning:
        yield line("warning", _broken(done.warning, width))
    yield line("run time", f"{facts['run_ms']:.0f} ms")
    yield line("disposition", facts["disposition"] + (" after the reply" if facts["reply"] else ", no reply yet"))
    if facts["reply"]:
        shown = json.dumps(_without_stderr(facts["reply"]), indent=2)  # not cut, and safe: it is ASCII
        yield f"{'reply':<{_WIDTH}}" + shown.replace("\n", f"\n{' ' * _WIDTH}")


def _broken(text: str, width: int | None) -> str:
    return "\n".join(part for one in text.split("\n") for part in wrapped(one, width and width - _WIDTH))


def _without_stderr(made: dict[str, Any]) -> dict[str, Any]:
    error = made.get("error")
    return {**made, "error": {**error, "stderr_tail": "(shown above)"}} if error and error["stderr_tail"] else made
