"""What the management console is told of a consumer."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.config.loader import load
from consumer.service.consumer_info import about


@pytest.mark.parametrize(
    ("settings", "runner", "classifier"),
    [
        ({}, "warm workers", "classifier.classify:classify"),
        ({"classifier": "mine:classify"}, "warm workers", "mine:classify"),
        ({"command": '["./classify.sh"]'}, "a program per job", "./classify.sh"),
        (
            {"command": '["python3", "classify.py", "--token", "hunter2"]'},
            "a program per job",
            "python3 classify.py",
        ),
    ],
)
def test_it_says_what_runs_and_nothing_that_may_be_secret(
    settings: dict[str, str], runner: str, classifier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("classify.py").touch()
    told = about(load({"pool_size": 3, **settings}, {}))
    folder = {} if settings else {"models_dir": "models"}
    assert told == {"runner": runner, "classifier": classifier, **folder, "pool_size": "3"}
