"""What is too much, and the words for it: decided from numbers and texts, without any process."""

from __future__ import annotations

import signal

import pytest

from consumer.config.job_limits import Limits, Taken, disk_shortage, excess, excess_at_end
from consumer.config.loader import load
from consumer.config.settings import Settings
from consumer.service.process import root_warning

LIMITS = Limits(
    timeout_s=10.0,
    max_line_bytes=1000,
    max_stdout_bytes=10_000,
    max_memory_bytes=100,
    max_processes=3,
    max_folder_bytes=50,
)


@pytest.mark.parametrize(
    ("taken", "words"),
    [
        (Taken(memory_bytes=100, cpu_s=20.0, processes=3, folder_bytes=50), None),
        (Taken(memory_bytes=101), "more than 100 bytes of memory (max_memory_bytes)"),
        (Taken(cpu_s=20.1), "more than 20 s of CPU time (max_cpu_s)"),
        (Taken(processes=4), "more than 3 processes at once (max_processes)"),
        (Taken(folder_bytes=51), "more than 50 bytes in its folder (max_folder_bytes)"),
        (Taken(memory_bytes=101, processes=4), "more than 3 processes at once (max_processes)"),
    ],
)
def test_what_is_more_than_a_limit_is_told_by_its_setting(taken: Taken, words: str | None) -> None:
    assert excess(taken, LIMITS) == words


MEMORY = "no more memory within 100 bytes (max_memory_bytes)"
FILE = "a file of more than 50 bytes (max_folder_bytes)"


@pytest.mark.parametrize(
    ("returncode", "last_words", "words"),
    [
        (1, "Traceback\n  ...\nMemoryError", MEMORY),
        (1, "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 64.0 GiB", MEMORY),
        (-signal.SIGABRT, "terminate called after throwing an instance of 'std::bad_alloc'", MEMORY),
        (-signal.SIGABRT, "memory allocation of 68719476736 bytes failed", MEMORY),
        (1, "java.lang.OutOfMemoryError: Java heap space", MEMORY),
        (2, "sh: 1: Cannot allocate memory", MEMORY),
        (1, "OSError: [Errno 27] File too large", FILE),
        (-signal.SIGXFSZ, "", FILE),
        (-signal.SIGXCPU, "", "more than 20 s of CPU time (max_cpu_s)"),
        (0, "MemoryError", None),
        (None, "MemoryError", None),
        (1, "MemoryError, but survived\n" + "x" * 500, None),
        (-signal.SIGKILL, "", None),
        (1, "boom", None),
    ],
)
def test_which_limit_ended_a_process_is_read_from_its_signal_or_its_last_words(
    returncode: int | None, last_words: str, words: str | None
) -> None:
    assert excess_at_end(returncode, last_words, LIMITS) == words


def test_the_kernel_counts_cpu_seconds_only_where_a_process_runs_one_job() -> None:
    assert LIMITS.bounds(jobs=1) == {"memory": 100, "file": 50, "cpu": 25}
    assert LIMITS.bounds(jobs=2)["cpu"] is None


def test_every_limit_is_a_setting() -> None:
    given = {
        "max_line_bytes": 2000,
        "max_stdout_bytes": 3000,
        "stderr_tail_bytes": 10,
        "max_memory_bytes": 2**30,
        "max_cpu_s": 4.5,
        "max_processes": 5,
        "max_folder_bytes": 2**21,
        "min_free_bytes": 0,
    }
    limits = load(given, {}).limits(7.0)
    assert limits == Limits(timeout_s=7.0, **given)  # type: ignore[arg-type] # of several types
    assert limits.cpu_s == 4.5


def test_the_defaults_of_limits_are_those_of_the_settings() -> None:
    settings = Settings()
    given = {"max_line_bytes": settings.max_line_bytes, "max_stdout_bytes": settings.max_stdout_bytes}
    assert settings.limits(60.0) == Limits(timeout_s=60.0, **given)


def test_a_service_of_root_is_told_so_and_no_other() -> None:
    assert "root" in str(root_warning(0))
    assert root_warning(1000) is None


def test_a_full_disk_is_told_with_what_is_left_and_what_the_job_has_written() -> None:
    assert disk_shortage(LIMITS, free=5, written=7).endswith(
        "(min_free_bytes): 5 bytes, and of the running jobs this one has written the most there, 7 bytes"
    )
