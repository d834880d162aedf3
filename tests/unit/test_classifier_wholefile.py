"""What is read is a regular file of its folder, whole and once; what is written replaces it in one step."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from classifier.models import whole_file
from classifier.models.whole_file import TooLargeError, UnfitError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def read(path: Path) -> bytes:
    return whole_file.read(path, most=1000)


def test_what_was_written_is_read(folder: Path) -> None:
    whole_file.write(folder / "new" / "file", b"abc")
    whole_file.write(folder / "new" / "file", b"abcd")
    assert read(folder / "new" / "file") == b"abcd"
    assert [path.name for path in (folder / "new").iterdir()] == ["file"]


@pytest.mark.parametrize("size", [0, 1000])
def test_as_many_bytes_as_are_allowed_are_read(folder: Path, size: int) -> None:
    (folder / "file").write_bytes(b"x" * size)
    assert len(read(folder / "file")) == size


def test_one_byte_more_is_refused_before_it_is_read(folder: Path) -> None:
    os.truncate(os.open(folder / "file", os.O_CREAT | os.O_WRONLY), 1 << 40)
    with pytest.raises(TooLargeError, match="has 1,099,511,627,776 bytes, and may have 1,000"):
        read(folder / "file")


def test_a_file_that_grows_while_it_is_read_is_refused() -> None:
    # The kernel makes it up: of no size by its name, and yet it has content.
    with pytest.raises(UnfitError, match="changed while it was read"):
        read(Path("/proc/version"))


def test_a_fifo_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "file")
    with pytest.raises(UnfitError, match="is not a regular file"):
        read(folder / "file")


def test_a_folder_is_refused(folder: Path) -> None:
    (folder / "file").mkdir()
    with pytest.raises(UnfitError, match="is not a regular file"):
        read(folder / "file")


def test_a_device_is_refused(folder: Path) -> None:
    (folder / "file").symlink_to("/dev/zero")
    with pytest.raises(UnfitError, match="is not a regular file"):
        read(folder / "file")


def test_a_socket_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("file")
        with pytest.raises(OSError, match="No such device"):
            read(folder / "file")


def test_a_link_out_of_the_folder_is_refused(folder: Path) -> None:
    (folder.parent / "secret").write_bytes(b"secret")
    (folder / "file").symlink_to("../secret")
    with pytest.raises(UnfitError, match=r"leads out of its folder, to .*/secret: put the file itself there"):
        read(folder / "file")


def test_a_folder_whose_name_begins_alike_is_another(folder: Path) -> None:
    (folder.parent / "folder2").mkdir()
    (folder.parent / "folder2" / "file").write_bytes(b"secret")
    (folder / "file").symlink_to("../folder2/file")
    with pytest.raises(UnfitError, match="leads out of its folder"):
        read(folder / "file")


def test_links_within_the_folder_are_followed_as_kubernetes_makes_them(folder: Path) -> None:
    (folder / "..2026_11_24").mkdir()
    (folder / "..2026_11_24" / "file").write_bytes(b"abc")
    (folder / "..data").symlink_to("..2026_11_24")
    (folder / "file").symlink_to("..data/file")
    assert read(folder / "file") == b"abc"


def test_the_folder_itself_may_be_a_link(folder: Path) -> None:
    (folder / "file").write_bytes(b"abc")
    (folder.parent / "current").symlink_to("folder")
    assert read(folder.parent / "current" / "file") == b"abc"


def test_a_missing_file_is_the_systems_own_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(folder / "none")


def test_a_refusal_leaves_no_descriptor_open(folder: Path) -> None:
    os.mkfifo(folder / "file")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(UnfitError):
            read(folder / "file")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
