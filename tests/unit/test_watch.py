"""What counts as written by a job: what is in its folder beyond its input, whatever the input is called by now."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.runners.resource_monitor import Folder

MIB = 1024**2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job's, on a real disk or not: sizes are those of whole pages."""
    (tmp_path / "job.json").write_bytes(b"x" * 2 * MIB)
    return tmp_path


def test_the_input_alone_is_nothing(folder: Path) -> None:
    looked = Folder(folder, [2 * MIB])
    assert (looked.measure(), looked.counted()) == (0, 0)


def test_the_input_under_another_name_is_nothing(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "job.json").rename(folder / "sub" / "renamed.json")
    assert Folder(folder, [2 * MIB]).measure() <= 4096  # the folder itself


def test_what_is_written_beside_it_or_appended_counts(folder: Path) -> None:
    (folder / "made").write_bytes(b"x" * MIB)
    with (folder / "job.json").open("ab") as file:
        file.write(b"x" * MIB)
    assert Folder(folder, [2 * MIB]).measure() == 2 * MIB


def test_the_inputs_of_a_batch_are_nothing(tmp_path: Path) -> None:
    sizes = [10, 5000, MIB]
    for number, size in enumerate(sizes):
        (tmp_path / f"{number}.json").write_bytes(b"x" * size)
    assert Folder(tmp_path, sizes).measure() == 0


def test_an_input_that_the_job_has_removed_is_no_credit_below_zero(folder: Path) -> None:
    (folder / "job.json").unlink()
    assert Folder(folder, [2 * MIB]).measure() == 0
