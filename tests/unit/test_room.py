"""A job whose file finds no room: waited for, given up, interrupted, or not waited for at all."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.async_tests import never, runs_async

from consumer.errors import ConfigurationError
from consumer.job import Crashed, Interrupted, Job, Request
from consumer.runners.files import job_folder
from consumer.runners.files.job_files import JobFiles
from consumer.runners.files.job_folder import STEPS_AT_ONCE, JobFolder

JOB = Job(request=Request(id="m1", correlation_id="c"), body=b"{}", timeout_s=1.0)


class FullFolder(JobFolder):
    """Refuses so many files; counts those that were asked for."""

    def __init__(self, parent: Path, refusals: int, number: int = errno.ENOSPC) -> None:
        super().__init__(parent)
        self.refusals = refusals
        self.number = number
        self.asked = 0
        self.refused = asyncio.Event()

    def write(self, files: Mapping[str, bytes]) -> Path:
        self.asked += 1
        if self.asked <= self.refusals:
            self.refused.set()
            raise OSError(self.number, "no room")
        return super().write(files)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@runs_async
async def test_a_file_is_written_once_there_is_room_and_gone_afterwards(number: int, tmp_path: Path) -> None:
    folder = FullFolder(tmp_path, 3, number)
    path = await folder.write_job(JOB, never(), again_s=0.0)
    assert isinstance(path, Path)
    assert (folder.asked, path.name, path.read_bytes()) == (4, "job.json", b"{}")
    await folder.clear()
    assert list(path.parent.iterdir()) == []


@runs_async
async def test_what_does_not_pass_is_not_waited_for(tmp_path: Path) -> None:
    folder = FullFolder(tmp_path, 3, errno.EACCES)
    outcome = await folder.write_job(JOB, never(), again_s=0.0)
    assert outcome == Crashed(message="the job's file could not be written (job_dir): no room")
    assert folder.asked == 1


@runs_async
async def test_patience_ends(tmp_path: Path) -> None:
    folder = FullFolder(tmp_path, 1_000_000)
    assert isinstance(await folder.write_job(JOB, never(), patience_s=0.0), Crashed)
    assert folder.asked == 1


@runs_async
async def test_an_interrupt_ends_the_wait(tmp_path: Path) -> None:
    folder, interrupt = FullFolder(tmp_path, 1), never()
    waiting = asyncio.create_task(folder.write_job(JOB, interrupt, again_s=60.0))
    await folder.refused.wait()
    interrupt.set_result(None)
    assert await waiting == Interrupted()


@runs_async
async def test_what_was_written_before_one_file_had_no_room_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write = job_folder._write  # noqa: SLF001 - a disk that gets full between two files

    def write_but_one(path: str, body: bytes) -> None:
        if path.endswith("/1.json"):
            raise OSError(errno.ENOSPC, "no room")
        write(path, body)

    monkeypatch.setattr(job_folder, "_write", write_but_one)
    folder = JobFolder(tmp_path)
    with pytest.raises(OSError, match="no room"):
        folder.write_batch([JOB, JOB])
    assert below(tmp_path) == 1


def below(folder: Path) -> int:
    """Count all files and folders in it."""
    return len(list(folder.rglob("*")))


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def fill(folder: Path, files: int) -> None:
    for number in range(files):
        (folder / f"{number}").touch()


@pytest.mark.parametrize("files", [1, STEPS_AT_ONCE - 1])
@runs_async
async def test_the_few_files_that_a_job_leaves_are_removed_at_once(
    files: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_folder, "in_thread", None)  # not to be called
    with JobFiles.open(tmp_path) as mine:
        slot = JobFolder(mine.folder)
        path = await slot.write_job(JOB, never())
        assert isinstance(path, Path)
        fill(path.parent, files)
        await slot.clear()
        assert list(mine.folder.iterdir()) == []


class GuardedFolder(JobFolder):
    """A folder whose removal in the thread goes on when `gate` opens. `begun` is set when it is reached."""

    def __init__(self, parent: Path) -> None:
        super().__init__(parent)
        self.loop = asyncio.get_running_loop()
        self.gate = threading.Event()
        self.begun = asyncio.Event()

    def _remove_rest(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            self.loop.call_soon_threadsafe(self.begun.set)
            self.gate.wait()
        super()._remove_rest()


@runs_async
async def test_many_files_are_removed_in_a_thread_and_the_slot_waits_even_when_it_is_cancelled(
    tmp_path: Path,
) -> None:
    guarded = GuardedFolder(tmp_path)

    async def run() -> None:
        path = await guarded.write_job(JOB, never())
        assert isinstance(path, Path)
        fill(path.parent, 10 * STEPS_AT_ONCE)
        await guarded.clear()

    running = asyncio.create_task(run())
    await guarded.begun.wait()  # so the loop turns
    running.cancel()
    done, _ = await asyncio.wait({running}, timeout=0.0)
    assert not done
    assert below(tmp_path) > STEPS_AT_ONCE
    guarded.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert below(tmp_path) == 0


@runs_async
async def test_what_a_predecessor_left_is_removed_before_the_folder_is_opened_aside(tmp_path: Path) -> None:
    left = tmp_path / "rabbitmq-classifier-left"
    left.mkdir()
    fill(left, 10 * STEPS_AT_ONCE)
    async with JobFiles.opened_in_thread(tmp_path) as mine:
        assert names(tmp_path) == [mine.folder.name]
        fill(mine.folder, 10 * STEPS_AT_ONCE)
    assert names(tmp_path) == []


@runs_async
async def test_a_job_folder_that_cannot_be_used_is_told_through_the_thread(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="job_dir"):
        async with JobFiles.opened_in_thread(tmp_path / "file"):
            pass
