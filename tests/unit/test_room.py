"""A job whose file finds no room: waited for, given up, interrupted, or not waited for at all."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from fakes import never, runs_async

from consumer.errors import ConfigurationError
from consumer.runners.files import room
from consumer.runners.files.job_files import STEPS_AT_ONCE, JobFiles, JobFolder
from consumer.runners.files.room import emptied, file_of, opened_aside


@dataclass
class FullFolder:
    """Refuses so many files; counts those that were asked for and those that are there."""

    refusals: int
    number: int = errno.ENOSPC
    asked: int = 0
    held: int = 0
    refused: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def lent(self, files: Mapping[str, bytes]) -> Iterator[Path]:  # noqa: ARG002 - JobFolder's signature
        self.asked += 1
        if self.asked <= self.refusals:
            self.refused.set()
            raise OSError(self.number, "no room")
        self.held += 1
        yield Path("/")
        self.held -= 1

    def remove_some(self) -> bool:
        return False


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "AGAIN_S", 0.0)


async def written(folder: FullFolder, interrupt: asyncio.Future[None], patience_s: float = 60.0) -> Path | None:
    opened = file_of(cast("JobFolder", folder), "m1", b"{}", interrupt, patience_s=patience_s)
    async with opened as path:
        assert folder.held == (path is not None)
        return path


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@runs_async
async def test_a_file_is_written_once_there_is_room_and_gone_afterwards(number: int) -> None:
    folder = FullFolder(3, number)
    assert await written(folder, never()) == Path("/job.json")
    assert (folder.asked, folder.held) == (4, 0)


@runs_async
async def test_what_does_not_pass_is_not_waited_for() -> None:
    folder = FullFolder(3, errno.EACCES)
    with pytest.raises(OSError, match="no room"):
        await written(folder, never())
    assert folder.asked == 1


@runs_async
async def test_patience_ends() -> None:
    folder = FullFolder(1_000_000)
    with pytest.raises(OSError, match="no room"):
        await written(folder, never(), patience_s=0.0)
    assert folder.asked == 1


@runs_async
async def test_an_interrupt_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "AGAIN_S", 60.0)
    folder, interrupt = FullFolder(1), never()
    waiting = asyncio.create_task(written(folder, interrupt))
    await folder.refused.wait()
    interrupt.set_result(None)
    assert await waiting is None


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def fill(folder: Path, files: int) -> None:
    for number in range(files):
        (folder / f"{number}").touch()


@pytest.mark.parametrize("files", [1, STEPS_AT_ONCE - 1])
@runs_async
async def test_the_few_files_that_a_job_leaves_are_removed_at_once(files: int, tmp_path: Path) -> None:
    with JobFiles.opened(tmp_path) as mine:
        slot = mine.folder_of_slot()
        async with file_of(slot, "m1", b"{}", never()) as path:
            assert path is not None
            fill(path.parent, files)
        assert list(mine.folder.iterdir()) == []
        assert not slot.remove_some()


@dataclass
class Guarded:
    """A slot's folder whose removal in the thread goes on when `gate` opens. `begun` is set when it is reached."""

    folder: JobFolder
    loop: asyncio.AbstractEventLoop
    gate: threading.Event = field(default_factory=threading.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def remove_some(self) -> bool:
        return self.folder.remove_some()

    def remove_rest(self) -> None:
        self.loop.call_soon_threadsafe(self.begun.set)
        self.gate.wait()
        self.folder.remove_rest()


@runs_async
async def test_many_files_are_removed_in_a_thread_and_the_slot_waits_even_when_it_is_cancelled(
    tmp_path: Path,
) -> None:
    with JobFiles.opened(tmp_path) as mine:
        guarded = Guarded(mine.folder_of_slot(), asyncio.get_running_loop())

        async def run() -> None:
            async with emptied(cast("JobFolder", guarded)):
                with guarded.folder.lent({"job.json": b"{}"}) as folder:
                    fill(folder, 10 * STEPS_AT_ONCE)

        running = asyncio.create_task(run())
        await guarded.begun.wait()  # so the loop turns
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=0.0)
        assert not done
        assert len(list(mine.folder.rglob("*"))) > STEPS_AT_ONCE
        guarded.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert list(mine.folder.iterdir()) == []


@runs_async
async def test_what_a_predecessor_left_is_removed_before_the_folder_is_opened_aside(tmp_path: Path) -> None:
    left = tmp_path / "rabbitmq-classifier-left"
    left.mkdir()
    fill(left, 10 * STEPS_AT_ONCE)
    async with opened_aside(tmp_path) as mine:
        assert names(tmp_path) == [mine.folder.name]
        fill(mine.folder, 10 * STEPS_AT_ONCE)
    assert names(tmp_path) == []


@runs_async
async def test_a_job_folder_that_cannot_be_used_is_told_through_the_thread(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="job_dir"):
        async with opened_aside(tmp_path / "file"):
            pass
