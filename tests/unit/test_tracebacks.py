"""Tracebacks of a user's code: they begin with the user's first frame, and a bug of ours keeps all frames."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from classifier import contract, tracebacks
from classifier.child import loading


def raised_by(call: Callable[[], object]) -> str:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is
        frames = error.__traceback__
        for _ in ("this function", "its argument"):
            frames = frames and frames.tb_next
        return tracebacks.of_user(error.with_traceback(frames))
    raise AssertionError("nothing was raised")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "text", "frames", "last"),
    [
        ("tb_missing", "import no_such", ["tb_missing.py"], "ModuleNotFoundError: No module named 'no_such'"),
        ("tb_raises", "def f(): raise ValueError('x')\nf()", ["tb_raises.py"] * 2, "ValueError: x"),
        ("tb_syntax", "def f(", ["tb_syntax.py"], "SyntaxError: '(' was never closed"),
    ],
)  # fmt: skip
def test_a_module_that_cannot_be_imported_shows_its_own_frames_only(
    name: str, text: str, frames: list[str], last: str, folder: Path
) -> None:
    (folder / f"{name}.py").write_text(text)
    lines = raised_by(lambda: loading.load(f"{name}:classify")).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    files = [line.split('"')[1] for line in lines if line.startswith("  File ")]
    assert files == [str(folder / file) for file in frames]
    assert lines[-1] == last


def test_a_module_that_is_missing_has_no_frame_at_all() -> None:
    assert raised_by(lambda: loading.load("tb_nowhere:classify")).splitlines() == [
        "Traceback (most recent call last):",
        "ModuleNotFoundError: No module named 'tb_nowhere'",
    ]


def test_a_bug_of_ours_keeps_its_frames() -> None:
    assert "loading.py" in raised_by(lambda: loading.find(None))  # type: ignore[arg-type] # that is the bug


def test_a_failed_job_shows_the_frames_of_its_function(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "job.json").write_text("{}")

    def fails(job: dict[str, object]) -> object:
        return job["signal"]

    assert contract.answer(fails, str(folder / "job.json")) == ["ERROR: KeyError: 'signal'"]
    shown = capsys.readouterr().err
    assert __file__ in shown
    assert "contract.py" not in shown
