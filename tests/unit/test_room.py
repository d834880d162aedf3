"""A job whose file finds no room: waited for, given up, interrupted, or not waited for at all."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from fakes import never, runs_async

from consumer import room
from consumer.jobfiles import JobFolder
from consumer.room import file_of


@dataclass
class FullFolder:
    """Refuses so many files; counts those that were asked for and those that are there."""

    refusals: int
    number: int = errno.ENOSPC
    asked: int = 0
    held: int = 0
    refused: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def job(self, body: bytes) -> Iterator[Path]:  # noqa: ARG002 - JobFolder's signature
        self.asked += 1
        if self.asked <= self.refusals:
            self.refused.set()
            raise OSError(self.number, "no room")
        self.held += 1
        yield Path("/job.json")
        self.held -= 1


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
