"""Job files: private while they exist, and gone on every ending, the consumer's own death included."""

from __future__ import annotations

import logging
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PosixPath
from typing import Self

import pytest
from support.async_tests import runs_async
from support.unprivileged import unprivileged_folder

from consumer.errors import ConfigurationError
from consumer.job import Job, Request
from consumer.runners.files.job_files import FOLDER_PREFIX, JobFiles
from consumer.runners.files.job_folder import JobFolder

#: A consumer that holds a job's file until it is killed, as a program of its own; says where.
OWNER = """
import sys
from pathlib import Path, PosixPath
from typing import Self
from consumer.runners.files.job_files import JobFiles
from consumer.runners.files.job_folder import JobFolder

files = JobFiles.open(Path(sys.argv[1]))
with JobFolder(files.folder).job(b"{}") as path:
    (path.parent / "closed").mkdir(mode=0)
    print(files.folder, flush=True)
    sys.stdin.read()
files.close()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[JobFiles]:
    opened = JobFiles.open(tmp_path)
    yield opened
    opened.close()
    assert list(tmp_path.iterdir()) == []


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def other_consumer(job_dir: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start another consumer on the same folder; give its process and the folder that it owns."""
    argv = [sys.executable, "-c", OWNER, str(job_dir)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_folders_are_0700_and_files_0600_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        files = JobFiles.open(tmp_path / "new" / "jobs")
        with JobFolder(files.folder).job(b"{}") as path:
            assert [mode(folder) for folder in (tmp_path / "new" / "jobs", files.folder, path.parent)] == [
                0o700
            ] * 3
            assert mode(path) == 0o600
        files.close()


def test_an_existing_job_dir_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    JobFiles.open(tmp_path).close()
    assert mode(tmp_path) == 0o755


def test_a_job_is_written_byte_for_byte_to_a_folder_of_its_own(files: JobFiles) -> None:
    with JobFolder(files.folder).job(b"\x00\xff\n") as one, JobFolder(files.folder).job(b"") as other:
        assert (one.read_bytes(), other.read_bytes()) == (b"\x00\xff\n", b"")
        assert one.parent != other.parent
        assert one.is_absolute()
        assert list(one.parent.iterdir()) == [one]


@runs_async
async def test_the_files_of_a_batch_lie_in_one_folder_which_is_empty_afterwards(files: JobFiles) -> None:
    slot = JobFolder(files.folder)
    request = Request(id="id-1", correlation_id="c")
    folder = slot.write_batch([Job(request=request, body=body, timeout_s=1.0) for body in (b"{}", b"\xff", b"[]")])
    assert [(folder / f"{number}.json").read_bytes() for number in range(3)] == [b"{}", b"\xff", b"[]"]
    assert {mode(path) for path in folder.iterdir()} == {0o600}
    (folder / "1.json").unlink()
    (folder / "left").touch()
    await slot.clear()
    assert list(files.folder.glob("*/*")) == []
    with slot.job(b"{}") as path:
        assert list(path.parent.iterdir()) == [path]


def test_a_relative_job_dir_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = JobFiles.open(Path("jobs"))
    with JobFolder(files.folder).job(b"{}") as path:
        assert path.is_absolute()
    files.close()


def test_a_jobs_folder_goes_with_all_that_the_job_left_in_it(files: JobFiles) -> None:
    with JobFolder(files.folder).job(b"{}") as path:
        (path.parent / "deep" / "er").mkdir(parents=True)
        (path.parent / "deep" / "er" / "left").write_text("x")
        (path.parent / "dangling").symlink_to("nowhere")
    assert list(files.folder.glob("*/*")) == []


def test_a_jobs_folder_goes_when_the_block_raises(files: JobFiles) -> None:
    with pytest.raises(ZeroDivisionError), JobFolder(files.folder).job(b"{}"):
        raise ZeroDivisionError
    assert list(files.folder.glob("*/*")) == []


def test_what_a_job_linked_to_stays(files: JobFiles, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "precious").write_text("x")
    with JobFolder(files.folder).job(b"{}") as path:
        (path.parent / "link").symlink_to(outside)
    assert (outside / "precious").read_text() == "x"
    assert list(files.folder.glob("*/*")) == []


@pytest.mark.parametrize("closed", [".", "sub", "sub/sub"])
def test_a_job_that_takes_away_its_own_permissions_leaves_nothing(closed: str) -> None:
    with unprivileged_folder() as job_dir:
        files = JobFiles.open(job_dir)
        with JobFolder(files.folder).job(b"{}") as path:
            (path.parent / "sub" / "sub" / "file").mkdir(parents=True)
            (path.parent / closed).chmod(0)
        assert list(files.folder.glob("*/*")) == []
        files.close()
        assert list(job_dir.iterdir()) == []


def test_a_job_that_removes_its_own_folder_is_no_fault(files: JobFiles, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), JobFolder(files.folder).job(b"{}") as path:
        path.unlink()
        path.parent.rmdir()
    assert caplog.text == ""


def test_close_removes_what_is_still_there(tmp_path: Path) -> None:
    files = JobFiles.open(tmp_path)
    (files.folder / "left").write_text("x")
    files.close()
    assert list(tmp_path.iterdir()) == []


def test_opening_and_closing_leaks_no_descriptor(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    JobFiles.open(tmp_path).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_folder_of_a_killed_consumer_is_swept_at_the_next_start(tmp_path: Path) -> None:
    with other_consumer(tmp_path) as (process, left):
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert list(left.glob("slot-*/job.json"))
        files = JobFiles.open(tmp_path)
        assert list(tmp_path.iterdir()) == [files.folder]
        files.close()


def test_the_folder_of_a_living_consumer_is_never_swept(tmp_path: Path) -> None:
    with other_consumer(tmp_path) as (process, folder):
        JobFiles.open(tmp_path).close()
        assert [path.read_bytes() for path in folder.glob("slot-*/job.json")] == [b"{}"]
        process.communicate()
        assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_two_consumers_in_one_process_do_not_sweep_each_other(tmp_path: Path) -> None:
    first, second = JobFiles.open(tmp_path), JobFiles.open(tmp_path)
    assert {first.folder, second.folder} == set(tmp_path.iterdir())
    first.close()
    second.close()


def test_a_child_does_not_keep_its_consumers_folder_locked(tmp_path: Path) -> None:
    files = JobFiles.open(tmp_path)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False) as child:
        os.close(files._lock)  # noqa: SLF001 - what the kernel does for a killed consumer
        JobFiles.open(tmp_path).close()
        assert list(tmp_path.iterdir()) == []
        child.communicate()


def test_a_link_with_our_folders_name_is_not_followed(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("target")
    (target / "precious").write_text("x")
    link = tmp_path / (FOLDER_PREFIX + "link")
    link.symlink_to(target)
    JobFiles.open(tmp_path).close()
    assert (target / "precious").read_text() == "x"
    assert link.is_symlink()


def test_what_is_not_named_like_our_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "other-1").mkdir()
    (tmp_path / (FOLDER_PREFIX + "file")).write_text("x")
    JobFiles.open(tmp_path).close()
    assert {path.name for path in tmp_path.iterdir()} == {"other-1", FOLDER_PREFIX + "file"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_another_users_folder_stays(tmp_path: Path) -> None:
    other = tmp_path / (FOLDER_PREFIX + "theirs")
    other.mkdir()
    os.chown(other, 65534, -1)
    JobFiles.open(tmp_path).close()
    assert other.is_dir()


class Vanishing(PosixPath):
    """A job folder in which another consumer's folder goes between being listed and being looked at."""

    def glob(self, pattern: str) -> Generator[Self, None, None]:
        yield self / pattern.replace("*", "gone")


def test_a_folder_that_goes_while_we_sweep_is_no_fault(tmp_path: Path) -> None:
    JobFiles.open(Vanishing(tmp_path)).close()
    assert list(tmp_path.iterdir()) == []


def test_a_closed_folder_of_a_killed_consumer_does_not_stop_the_next_start() -> None:
    with unprivileged_folder() as job_dir:
        left = job_dir / (FOLDER_PREFIX + "closed")
        left.mkdir(mode=0)
        try:
            JobFiles.open(job_dir).close()
        finally:
            with suppress(FileNotFoundError):
                left.chmod(0o700)


@pytest.mark.parametrize("name", ["file/below", "file"])
def test_a_job_dir_that_cannot_be_used_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match=r"job_dir '.*' cannot be used: .*CONSUMER_JOB_DIR"):
        JobFiles.open(tmp_path / name)


def test_a_job_dir_that_may_not_be_written_to_is_told() -> None:
    with unprivileged_folder() as job_dir:
        job_dir.chmod(0o500)
        with pytest.raises(
            ConfigurationError, match="Permission denied; name a folder that this user may write to"
        ):
            JobFiles.open(job_dir)


@pytest.mark.parametrize("below", ["", "/jobs", "/more/jobs"])
def test_a_file_where_the_job_dir_should_be_is_named(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError) as refused:
        JobFiles.open(Path(f"{tmp_path}/file{below}"))
    assert str(refused.value) == (
        f"job_dir '{tmp_path}/file{below}' cannot be used: {tmp_path}/file is not a folder; name a folder that "
        "this user may write to (CONSUMER_JOB_DIR)"
    )


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(ConfigurationError, match=r"/link is not a folder; .*\(CONSUMER_JOB_DIR\)"):
        JobFiles.open(tmp_path / "link")


def test_a_job_dir_that_permissions_close_is_named() -> None:
    with unprivileged_folder() as job_dir:
        job_dir.chmod(0o500)
        with pytest.raises(ConfigurationError, match=r"cannot be used: Permission denied; .*\(CONSUMER_JOB_DIR\)"):
            JobFiles.open(job_dir)
        with pytest.raises(ConfigurationError, match=r"cannot be used: Permission denied; .*\(CONSUMER_JOB_DIR\)"):
            JobFiles.open(job_dir / "jobs")
