"""Slots of a runner for a test, and the processes that its jobs tell of: test_runners.py and others.

The classifier is a module of functions, one for each case (cases.py, say), chosen by the job's `case`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from left_behind import Watched

from consumer.config.loader import load
from consumer.job import Job, Outcome, Request, Succeeded, Unsuccessful
from consumer.runners.files.job_files import JobFiles
from consumer.runners.pool import Slot
from consumer.runners.runner import Runner, open_runner

HERE = Path(__file__).parent


def job(timeout_s: float = 30.0, **request: Any) -> Job:  # noqa: ANN401 - a request's own
    fields = {"id": "id-1", "correlation_id": "c", **request}
    return Job(request=Request(**fields), body=b"{}", timeout_s=timeout_s)


@dataclass
class Bench:
    """A runner. Log lines `pid N` of the classifier name processes that are watched from then on."""

    runner: str
    folder: Path
    watched: Watched
    cases: str = "cases"
    settings: dict[str, Any] = field(default_factory=dict)
    surroundings: dict[str, str] = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)
    logged: asyncio.Event = field(default_factory=asyncio.Event)
    opened: Runner | None = None

    @asynccontextmanager
    async def open(self, size: int = 1) -> AsyncIterator[Sequence[Slot]]:
        """Open the runner; when it is closed nothing is left but empty folders."""
        target = f"{self.cases}:dispatch"
        chosen: dict[str, Any] = {"classifier": target, "jobs_per_worker": 1 if self.runner == "fresh" else 50}
        if self.runner == "exec":
            chosen = {"command": [sys.executable, "-m", "classifier", "--call", target]}
        surroundings = {
            **self.surroundings,
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(HERE),
            "CONSUMER_AMQP_URL": "amqp://secret",
        }
        with JobFiles.open(self.folder) as files:
            settings = load({**chosen, **self.settings}, {})
            async with open_runner(settings, files, surroundings, size=size) as runner:
                self.opened = runner
                yield runner.pool.slots
                assert list(files.folder.glob("slot-*/*")) == []

    def interrupt(self) -> None:
        assert self.opened
        self.opened.interrupt()

    async def run(self, case: str, of: Job | None = None, **body: object) -> Outcome:
        """Run a case; whatever its end, the slot is as good as new for another."""
        async with self.open() as (slot,):
            outcome = await slot.run(with_body(of or job(), case=case, **body))
            after = await slot.run(with_body(job(id="after"), case="echo"))
            assert isinstance(after, Succeeded)
        return outcome

    def hear(self, record: logging.LogRecord) -> bool:
        """Take what a job has logged; as a filter, that lets everything through."""
        of_job, _, text = record.getMessage().partition("job id-1: ")
        if text and not of_job:
            self.logs.append(text)
            if text.startswith("pid "):
                self.watched.add(int(text.removeprefix("pid ")))
            self.logged.set()
        return True


def with_body(made: Job, **body: object) -> Job:
    return replace(made, body=json.dumps(body).encode())


def output(outcome: Outcome) -> Any:  # noqa: ANN401 - JSON
    assert isinstance(outcome, Succeeded), outcome
    return json.loads(outcome.output)


def told(outcome: Outcome) -> Unsuccessful:
    assert isinstance(outcome, Unsuccessful), outcome
    return outcome
