"""What the pages say of commands, functions and the client is so. Producers and the walk have their own files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from page_serving import answer, save, serving
from support.docs_pages.pages import Block, block
from support.processes import forked
from support.processes.commands import BIN, environment
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S

#: A few signals of each state: the models need not be good. As CSV, and as the .ts files that the pages name.
SIGNALS = "classifier generate --per-class 12 --out signals.csv"
_AS_TS = r"""awk -F, 'BEGIN { print "@data" } NR > 1 { label = $1; sub(/^[^,]*,/, ""); print $0 ":" label }'"""
DATA = (
    SIGNALS,
    "classifier generate --per-class 4 --seed 1 --out test.csv",
    f"{_AS_TS} signals.csv > TRAIN.ts",
    f"{_AS_TS} test.csv > TEST.ts",
)


def sh(lines: str, folder: Path, env: dict[str, str]) -> str:
    """Run commands as a reader would in that folder; the first that fails is the last."""
    done = forked.shell(lines, folder, env)
    assert done.returncode == os.EX_OK, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands read. What one leaves there, the next overwrites."""
    folder = tmp_path_factory.mktemp("data")
    sh("\n".join(DATA), folder, environment(""))
    return folder


@pytest.mark.parametrize(
    ("written", "served"),
    [
        (
            block("README.md", "function"),
            block("README.md", "serve-function"),
        ),
        (
            block("docs/classifiers.md", "function"),
            block("docs/classifiers.md", "serve-function"),
        ),
    ],
    ids=["README", "classifiers"],
)
def test_the_python_function_classifies_and_says_what_is_wrong(
    vhost_url: str, producer: Producer, tmp_path: Path, written: Block, served: Block
) -> None:
    save(written, tmp_path / "mine.py")
    with serving(served.text, vhost_url, tmp_path) as running:
        good = answer(producer, b'{"signal": [1, 2, 3]}')
        bad = answer(producer, b'{"noise": 1}')
        running.wait_for_event("job_log", "3 points")
    assert isinstance(good, dict)
    assert isinstance(bad, dict)
    assert good["output"] == {"label": "short"}
    assert (bad["error"]["code"], bad["error"]["message"]) == ("classifier_error", "the job has no signal")


def test_the_shell_script_counts_the_points(vhost_url: str, producer: Producer, tmp_path: Path) -> None:
    save(block("docs/classifiers.md", "shell-script"), tmp_path / "classify.sh")
    with serving(block("docs/classifiers.md", "serve-script").text, vhost_url, tmp_path) as running:
        reply = answer(producer, b'{"signal": [1, 2, 3]}')
        running.wait_for_event("job_log", "2 commas")
    assert isinstance(reply, dict)
    assert reply["output"] == {"points": 3}


def test_the_python_function_runs_as_a_program(tmp_path: Path) -> None:
    save(block("docs/classifiers.md", "function"), tmp_path / "mine.py")
    told = sh(block("docs/classifiers.md", "function-as-program").text, tmp_path, environment(""))
    assert '"label": "short"' in told


def test_a_model_is_trained_looked_at_and_asked(vhost_url: str, data: Path) -> None:
    *first, submit = block("docs/train.md", "train").text.splitlines()
    assert "pumps" in sh("\n".join(first), data, environment(vhost_url))
    with serving("consumer run", vhost_url, data):
        sh(submit, data, environment(vhost_url))
    results = (data / "results.jsonl").read_text().splitlines()
    assert results
    assert all('"succeeded"' in result for result in results)


def test_a_model_from_a_csv_file_is_served_and_the_client_asks_it(vhost_url: str, tmp_path: Path) -> None:
    train, serve = block("README.md", "model-from-csv").text.splitlines()
    sh(f"{SIGNALS}\n{train}", tmp_path, environment(""))
    with serving(serve, vhost_url, tmp_path):
        asked = block("README.md", "python-client").at(vhost_url)
        done = subprocess.run(
            [BIN / "python", "-c", asked], capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    assert (done.stderr, done.returncode) == ("", os.EX_OK)
    assert "'model': 'pumps'" in done.stdout


def test_a_model_is_trained_as_onnx(data: Path) -> None:
    sh(block("docs/train.md", "onnx").text, data, environment(""))
    assert {path.name for path in (data / "models").iterdir()} >= {"pumps.model", "pumps.onnx.model"}


def test_a_model_is_trusted_and_says_so(data: Path) -> None:
    assert "trusted" in sh(block("docs/classifiers.md", "trust").text, data, environment(""))
