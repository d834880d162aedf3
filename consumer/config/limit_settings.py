"""The settings for one run of a job: its limits and its folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from pydantic import Field

from consumer.config.job_limits import (
    MAX_FOLDER_BYTES,
    MAX_MEMORY_BYTES,
    MAX_PROCESSES,
    MIN_FREE_BYTES,
    STDERR_TAIL_BYTES,
    Limits,
)
from consumer.config.setting_group import FromJson, SettingGroup

#: A reply is one line of output and less than 1 KiB around it; RabbitMQ 4.0 and later allow 16 MiB (16777216).
MAX_LINE_BYTES = 16_000_000


def _temporary_folder() -> Path:
    """Choose the folder as Python does. It may be unwritable, which JobFiles.open reports if it is needed."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return Path(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - only looked at


class LimitSettings(SettingGroup):
    """The limits, the folder and the sandbox of a run."""

    max_line_bytes: int = Field(
        1024 * 1024,
        ge=1024,
        le=MAX_LINE_BYTES,
        description="size limit of each line that a classifier prints, also of its result, 1KiB to 16MB; RabbitMQ "
        "4 accepts replies of up to 16 MiB",
    )
    max_stdout_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1024,
        description="size limit of a classifier's output on stdout for one job, at least 1KiB",
    )
    stderr_tail_bytes: int = Field(
        STDERR_TAIL_BYTES,
        ge=0,
        le=65_536,
        description="size of the end of stderr that the reply of a failed job includes, up to 64KiB",
    )
    max_memory_bytes: int = Field(
        MAX_MEMORY_BYTES,
        ge=32 * 1024 * 1024,
        description="memory limit of all processes of a job together, at least 32MiB; memory that a warm "
        "worker already has when it is forked does not count",
    )
    max_cpu_s: float | None = Field(
        None,
        gt=0,
        description="limit of the CPU time of all processes of a job together; default: twice the job's time "
        "limit",
    )
    max_processes: int = Field(
        MAX_PROCESSES,
        ge=1,
        le=100_000,
        description="largest number of processes that a job may run at once, 1 to 100000",
    )
    max_folder_bytes: int = Field(
        MAX_FOLDER_BYTES,
        ge=1024 * 1024,
        description="size limit of the data that a job writes to its folder (its input does not count), and of "
        "each file that it writes anywhere; at least 1MiB",
    )
    min_free_bytes: int = Field(
        MIN_FREE_BYTES,
        ge=0,
        description="free space to keep in job_dir: if less is left, the job that has written the most there is "
        "killed; a job's own input does not count",
    )
    sandbox: bool = Field(
        False,
        description="true: run programs of `command` under bubblewrap, without network, with write access to "
        "the job's folder only",
    )
    sandbox_paths: FromJson[tuple[Path, ...]] = Field(
        (),
        description="more files and folders that a sandboxed program may read, as a JSON list; it can always read "
        "the system's files, its own and the models",
    )
    job_dir: Path = Field(
        default_factory=_temporary_folder,
        description="folder of the job files; a tmpfs keeps the files off the disk; needed space: "
        "min_free_bytes, and max_body_bytes for each slot, so Docker's /dev/shm of 64 MiB is too small; default: "
        "TMPDIR, otherwise /tmp",
    )

    def limits(self, timeout_s: float) -> Limits:
        """Return the limits of a job with this time limit, in seconds."""
        return Limits(
            timeout_s=timeout_s,
            max_line_bytes=self.max_line_bytes,
            max_stdout_bytes=self.max_stdout_bytes,
            stderr_tail_bytes=self.stderr_tail_bytes,
            max_memory_bytes=self.max_memory_bytes,
            max_cpu_s=self.max_cpu_s,
            max_processes=self.max_processes,
            max_folder_bytes=self.max_folder_bytes,
            min_free_bytes=self.min_free_bytes,
        )
