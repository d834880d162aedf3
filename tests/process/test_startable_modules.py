"""Modules that a command line names: its Python is asked for them at the start, and imports none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from consumer.errors import ConfigurationError
from consumer.runners.programs.startable import refuse_what_cannot_start

PYTHON = sys.executable


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')\n")
    for package in ("bare", "whole"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('imported')\n")
    (tmp_path / "whole" / "__main__.py").touch()
    (tmp_path / "whole" / "part.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*arguments: str, path: str = "") -> None:
    environment = {"PATH": os.environ["PATH"], **({"PYTHONPATH": path} if path else {})}
    refuse_what_cannot_start((PYTHON, *arguments), environment)


@pytest.mark.parametrize(
    ("arguments", "path", "reason"),
    [
        (("-m", "nosuch"), False, "finds no module 'nosuch'; install it for this Python, or set PYTHONPATH"),
        (("-um", "nosuch.part"), False, "finds no module 'nosuch.part'; install it"),
        (("-mnosuch",), False, "finds no module 'nosuch'; install it"),
        (("-m", "json.nosuch"), False, "finds no module 'json.nosuch'; install it"),
        (
            ("-m", "mine"),
            False,
            "finds no module 'mine'; it is in {}, where a job's program does not search: set PYTHON",
        ),
        (("-m", "whole.part"), False, "finds no module 'whole.part'; it is in {}"),
        (("-I", "-m", "mine"), True, "finds no module 'mine'"),  # -I ignores PYTHONPATH
        (("-m", "bare"), True, "'bare' is a package without __main__, which python -m cannot run"),
        (("-m", "whole.nosuch"), True, "finds no module 'whole.nosuch'; install it"),
        (("-m", "classifier", "--call", "nosuch:f"), False, "finds no module 'nosuch'; install it"),
        (("-m", "classifier", "--call", "whole.nosuch:f"), True, "finds no module 'whole.nosuch'; install it"),
    ],
)
def test_a_module_that_is_not_found_stops_the_start(
    arguments: tuple[str, ...], path: bool, reason: str, folder: Path
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        start(*arguments, path=str(folder) if path else "")
    assert str(refused.value).startswith("command: ")
    assert reason.format(folder) in str(refused.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "mine"),
        ("-u", "-W", "ignore", "-m", "whole"),
        ("-m", "whole.part"),
        ("-m", "json.tool"),
        ("-m", "classifier"),
        ("-m", "classifier", "--call", "mine:f"),
        ("-m", "classifier", "--call", "bare:f"),
    ],
)
def test_a_module_that_is_found_is_not_refused(arguments: tuple[str, ...], folder: Path) -> None:
    start(*arguments, path=str(folder))
