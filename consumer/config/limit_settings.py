"""What one run of a job may take, and where it runs."""

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

#: A reply is one line of output and less than 1 KiB around it; RabbitMQ from 4.0 on takes 16 MiB (16777216).
MAX_LINE_BYTES = 16_000_000


def _temporary_folder() -> Path:
    """Choose as Python does. Most commands need none, so JobFiles.open reports one that cannot be written to."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return Path(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - only looked at


class LimitSettings(SettingGroup):
    """The limits and the surroundings of a run."""

    max_line_bytes: int = Field(
        1024 * 1024,
        ge=1024,
        le=MAX_LINE_BYTES,
        description="the longest line a classifier may print, 1024 to 16000000, so also its largest result; with "
        "the rest of the reply below the 16 MiB that RabbitMQ 4 takes",
    )
    max_stdout_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1024,
        description="how much a classifier may print on stdout in one job, at least 1024",
    )
    stderr_tail_bytes: int = Field(
        STDERR_TAIL_BYTES,
        ge=0,
        le=65_536,
        description="how much of the end of stderr goes with the reply of a job that failed, up to 65536",
    )
    max_memory_bytes: int = Field(
        MAX_MEMORY_BYTES,
        ge=32 * 1024 * 1024,
        description="the memory that all processes of a job may take, for a warm worker beyond what it was forked "
        "with, at least 33554432",
    )
    max_cpu_s: float | None = Field(
        None,
        gt=0,
        description="CPU seconds that all processes of a job may take; default: twice its run time",
    )
    max_processes: int = Field(
        MAX_PROCESSES,
        ge=1,
        le=100_000,
        description="how many processes a job may have at once, 1 to 100000",
    )
    max_folder_bytes: int = Field(
        MAX_FOLDER_BYTES,
        ge=1024 * 1024,
        description="how much a job may write to its folder, beside its input, also its largest file anywhere, at "
        "least 1048576",
    )
    min_free_bytes: int = Field(
        MIN_FREE_BYTES,
        ge=0,
        description="where job_dir has less room than this, the job that has written the most there is killed; a "
        "job's own input does not count",
    )
    sandbox: bool = Field(
        False,
        description="true: programs of `command` run under bubblewrap, without network, with nothing to write to "
        "but the job's folder",
    )
    sandbox_paths: FromJson[tuple[Path, ...]] = Field(
        (),
        description="a JSON list of files and folders that the program may read there, beside the system's, its "
        "own and the models",
    )
    job_dir: Path = Field(
        default_factory=_temporary_folder,
        description="where job files are written; a tmpfs keeps them off the disk, and needs min_free_bytes and "
        "pool_size times max_body_bytes at least, for which the 64 MiB of /dev/shm in Docker are too few",
    )

    def limits(self, timeout_s: float) -> Limits:
        """Give what a job may take that has this run time, in seconds."""
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
