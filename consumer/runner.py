"""How a slot runs a job: here the `exec` runner, a new program per job.

Puts together what one run needs: the job's file, the command line, the environment (an allow-list: nothing of
ours that is secret reaches a classifier) and the limits. What the program then does is process.py's business.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from consumer import process
from consumer.job import Crashed, Job, Outcome
from consumer.jobfiles import JobFiles
from consumer.process import Limits
from consumer.settings import ENV_PREFIX, Settings

log = logging.getLogger(__name__)

#: What programs need to start and to speak the operator's language; none of these carries a secret.
ALLOWED_VARIABLES = (
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONPATH",
    "TZ",
    "VIRTUAL_ENV",
)
#: A pool of n processes that each start a thread per core is slower than one thread each: 1 unless it is set.
THREAD_VARIABLES = (
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)


class Slot(Protocol):
    """One of the pool's fixed places."""

    async def run(self, job: Job, interrupt: asyncio.Event) -> Outcome:
        """Run one job to its outcome; when `interrupt` is set, end it at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The classifier's program: all that is the same for every job."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    max_line_bytes: int
    max_stdout_bytes: int

    @classmethod
    def from_settings(cls, settings: Settings, environment: Mapping[str, str]) -> Program:
        """Find the program.

        Raises:
            ConfigurationError: there is none of that name.
        """
        return cls(
            argv=settings.argv(),
            environment=base_environment(settings, environment),
            max_line_bytes=settings.max_line_bytes,
            max_stdout_bytes=settings.max_stdout_bytes,
        )


@dataclass(frozen=True, slots=True)
class ExecSlot:
    """Runs each job as a program of its own."""

    program: Program
    files: JobFiles

    async def run(self, job: Job, interrupt: asyncio.Event) -> Outcome:
        """Run the program on the job's file, which is gone with its folder when this returns."""
        try:
            with self.files.job(job.body) as path:
                return await self._run_on(path, job, interrupt)
        except OSError as error:  # a full disk is not the job's fault: another attempt may find room
            return Crashed(message=f"the job's file could not be written (job_dir): {error.strerror}")

    async def _run_on(self, path: Path, job: Job, interrupt: asyncio.Event) -> Outcome:
        limits = Limits(
            timeout_s=job.timeout_s,
            max_line_bytes=self.program.max_line_bytes,
            max_stdout_bytes=self.program.max_stdout_bytes,
        )
        return await process.run(
            (*self.program.argv, str(path)),
            cwd=path.parent,
            environment={**self.program.environment, **job_environment(job, path.parent)},
            limits=limits,
            on_log=lambda text: log.info("job %s: %s", job.request.id, text),
            interrupt=interrupt,
        )


def base_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Make the part of a classifier's environment that is the same for every job."""
    allowed = (*ALLOWED_VARIABLES, *settings.pass_environment)
    passed = {name: environment[name] for name in allowed if name in environment}
    if settings.classifier:  # the function may live in the folder that the service was started in
        passed["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path.cwd()), passed.get("PYTHONPATH"))))
    return {
        "PATH": os.defpath,
        **passed,
        **{name: environment.get(name, "1") for name in THREAD_VARIABLES},
        ENV_PREFIX + "MODELS_DIR": str(settings.models_dir.absolute()),
    }


def job_environment(job: Job, folder: Path) -> dict[str, str]:
    """Make the part that is this job's own. What a program writes at home or to TMPDIR goes with the job."""
    trace = {"TRACEPARENT": job.request.traceparent} if job.request.traceparent else {}
    return {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "JOB_ID": job.request.id,
        "JOB_ATTEMPT": str(job.request.attempt),
        **trace,
    }
