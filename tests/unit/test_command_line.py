"""The command line of the exec runner: found at the start, and valid in any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.errors import ConfigurationError
from consumer.runners.exec_runner import found_command


def program(folder: Path, mode: int = 0o755) -> Path:
    path = folder / "classify.sh"
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_a_program_that_is_found_on_the_path_gets_its_full_name() -> None:
    (found,) = found_command(["sh"])
    assert Path(found).is_absolute()
    assert Path(found).name == "sh"


def test_words_that_name_files_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path)
    (tmp_path / "train").write_text("a file with a plain word's name")
    monkeypatch.chdir(tmp_path)
    command = ["./classify.sh", "classify.sh", "./train", "train", "--none", "no/such.file"]
    here = str(tmp_path)
    assert found_command(command) == (
        f"{here}/classify.sh",
        f"{here}/classify.sh",
        f"{here}/train",
        "train",
        "--none",
        "no/such.file",
    )


@pytest.mark.parametrize("name", ["no-such-program", "./no-such-program", "", "not-executable", "."])
def test_a_program_that_cannot_be_executed_stops_the_start(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, mode=0o644).rename(tmp_path / "not-executable")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"^command: no program '.*chmod \+x"):
        found_command([name and f"./{name}"])
