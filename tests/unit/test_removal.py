"""The removal of what a job left: everything goes, in steps, at any depth and width."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from support.unprivileged import unprivileged_folder

from consumer.runners import resource_monitor
from consumer.runners.files.removal import removal, remove_tree
from consumer.runners.procfs import sizes

#: More than Python recurses, a process may have descriptors, and a path may have characters.
LEVELS = 1100
NAME = "below"


def deep_tree(folder: Path, levels: int = LEVELS) -> None:
    """Make folders in folders, each with a file of one block."""
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(NAME, dir_fd=here)
        file = os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here)
        os.write(file, b"x")
        os.close(file)
        below = os.open(NAME, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_a_tree_of_any_depth_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    deep_tree(tmp_path / "slot")
    remove_tree(tmp_path / "slot")
    assert list(tmp_path.iterdir()) == []
    assert not caplog.records


def test_what_lies_deep_down_is_measured(tmp_path: Path) -> None:
    deep_tree(tmp_path / "slot")
    found = list(sizes(tmp_path / "slot"))
    assert len(found) == 2 * LEVELS
    block = (tmp_path / "slot" / "f").stat().st_blocks * 512
    assert sum(found) >= LEVELS * block
    remove_tree(tmp_path / "slot")


def test_a_look_at_a_folder_is_bounded_and_the_walk_before_counts_until_the_next_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource_monitor, "FILES_AT_ONCE", 2)
    for number in range(4):
        (tmp_path / f"{number}").write_bytes(b"x")
    block = (tmp_path / "0").stat().st_blocks * 512
    folder = resource_monitor.Folder(tmp_path, ())
    assert [(folder.measure(), folder.counted()) for _ in range(4)] == [
        (2 * block, 2 * block),
        (4 * block, 4 * block),
        (2 * block, 4 * block),
        (4 * block, 4 * block),
    ]


def test_a_removal_goes_on_from_step_to_step(tmp_path: Path) -> None:
    folder = tmp_path / "slot"
    folder.mkdir()
    for number in range(1000):
        (folder / f"{number}").touch()
    steps = removal(folder)
    assert list(islice(steps, 100)) == [1] * 100
    assert len(list(folder.iterdir())) == 901  # the last step is announced, not done
    assert len(list(steps)) == 900
    assert not folder.exists()


def test_a_large_file_costs_more_than_a_small_one(tmp_path: Path) -> None:
    folder = tmp_path / "slot"
    folder.mkdir()
    with (folder / "large").open("wb") as file:
        file.truncate(500 * 1024**2)
    assert list(removal(folder)) == [501]


def closed(folder: Path, mode: int) -> None:
    folder.mkdir()
    (folder / "below").mkdir()
    (folder / "below" / "deeper").mkdir()
    for path in (folder / "file", folder / "below" / "file", folder / "below" / "deeper" / "file"):
        path.touch(mode=0)
    for path in (folder / "below" / "deeper", folder / "below", folder):
        path.chmod(mode)


@pytest.mark.parametrize("mode", [0o000, 0o100, 0o200, 0o300, 0o400, 0o500, 0o600, 0o700])
def test_a_tree_is_removed_whatever_permissions_were_taken_away(mode: int) -> None:
    with unprivileged_folder() as parent:
        closed(parent / "slot", mode)
        remove_tree(parent / "slot")
        assert list(parent.iterdir()) == []


def test_links_are_removed_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    folder = tmp_path / "slot"
    (folder / "below").mkdir(parents=True)
    for place in (folder, folder / "below"):
        (place / "to folder").symlink_to(tmp_path / "kept")
        (place / "to nothing").symlink_to("nothing")
        os.mkfifo(place / "pipe")
    remove_tree(folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "file"]


def test_names_of_any_bytes_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "slot"
    for name in (b"\xff", b"a\nb", b"-rf", b"x" * 255):
        (folder / os.fsdecode(name) / os.fsdecode(name)).mkdir(parents=True)
    remove_tree(folder)
    assert not folder.exists()


def test_what_cannot_be_removed_is_logged_and_all_others_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "slot"
    (folder / "below").mkdir(parents=True)
    for path in (folder / "file", folder / "below" / "kept", folder / "below" / "file"):
        path.touch()
    unlink = os.unlink

    def unlink_most(name: str, *, dir_fd: int) -> None:
        if name == "kept":
            raise PermissionError(1, "Operation not permitted")  # as for a file that chattr +i protects
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink_most)
    with caplog.at_level(logging.ERROR):
        remove_tree(folder)
    assert [path.name for path in folder.rglob("*")] == ["below", "kept"]
    assert caplog.messages == [f"could not remove {folder}: [Errno 1] Operation not permitted"]


def test_what_is_gone_already_is_no_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "slot"
    (folder / "below").mkdir(parents=True)
    for number in range(10):
        (folder / "below" / f"{number}").touch()
    steps: Iterator[int] = removal(folder)
    next(steps)
    remove_tree(folder)  # another one is quicker
    assert list(steps) == []
    assert not caplog.records
