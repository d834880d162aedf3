"""Slots that run no classifier: one ends every job at once, the other when the test sets the outcome."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from consumer.job import Job, Outcome
from consumer.runners.run import OnProgress


@dataclass
class FakeSlot:
    """Ends every job at once, with the given outcome or exception."""

    outcome: Outcome | Exception
    jobs: list[Job] = field(default_factory=list)

    async def run(self, job: Job, on_progress: OnProgress = None) -> Outcome:  # noqa: ARG002 - Slot's signature
        self.jobs.append(job)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@dataclass
class HeldSlot:
    """Runs each job until the test sets `ending`. `jobs`: the jobs that have begun."""

    jobs: list[Job] = field(default_factory=list)
    ending: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, job: Job, on_progress: OnProgress = None) -> Outcome:  # noqa: ARG002 - Slot's signature
        self.jobs.append(job)
        self.begun.set()
        return await asyncio.shield(self.ending)
