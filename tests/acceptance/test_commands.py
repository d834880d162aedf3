"""The installed commands, as a newcomer uses them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support.docs_pages.pages import block
from support.docs_pages.shown_output import assert_shows
from support.processes import forked
from support.processes.commands import BIN, environment
from support.processes.consumer_process import consumer
from support.processes.shell_classifiers import script
from support.waiting import PATIENCE_S

#: A few lines of shell keep the contract. The job's path is the last argument.
FIRST_NUMBER_IS = (
    "first=$(sed 's/.*\\[ *//; s/[],].*//' \"$1\")",
    'echo "LOG: the signal begins with $first"',
    "case $first in -*) label=negative ;; *) label=positive ;; esac",
    'echo "OUTPUT: {\\"label\\": \\"$label\\"}"',
)


def run(*arguments: str | Path, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    return forked.run("consumer", *arguments, env={**os.environ, **variables}, stdin=stdin)


def test_the_demo_shows_answers_and_dead_letters_and_ends_well(vhost_url: str) -> None:
    done = subprocess.run(
        [BIN / "consumer", "demo"],
        env={**os.environ, "CONSUMER_AMQP_URL": vhost_url, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == os.EX_OK, done.stdout + done.stderr
    assert "accuracy" in done.stdout
    assert "there is no model 'toaster'" in done.stdout
    assert "exit code 0" in done.stdout
    assert_shows(done.stdout, block("README.md", "demo-prints").text)


def test_a_shell_script_of_a_few_lines_is_a_classifier(vhost_url: str, tmp_path: Path) -> None:
    command = script(tmp_path, *FIRST_NUMBER_IS)
    with consumer(vhost_url, command=command) as running:
        jobs = '{"signal": [1.5, 2]}\n{"signal": [-1, 2]}\n'
        done = run("submit", "-", stdin=jobs, CONSUMER_AMQP_URL=vhost_url)
        running.wait_for_event("job_log", "the signal begins with")
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["output"]["label"] for result in results] == ["positive", "negative"]
    assert [result["source"] for result in results] == ["-:1", "-:2"]
    assert done.returncode == os.EX_OK


def test_a_python_function_of_ones_own_is_a_classifier(vhost_url: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def longest(job):\n    return {'points': len(job['signal'])}\n")
    (tmp_path / "job.json").write_text('{"signal": [1, 2, 3]}')
    variables = {**environment(vhost_url), "CONSUMER_CLASSIFIER": "mine:longest"}
    done = subprocess.run(
        [BIN / "consumer", "try", "job.json"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == os.EX_OK, done.stdout + done.stderr
    assert '"points": 3' in done.stdout


def test_submit_says_which_failed_and_exits_with_1(vhost_url: str, tmp_path: Path) -> None:
    command = script(tmp_path, 'case "$(cat "$1")" in *bad*) echo ERROR: no ;; *) echo OUTPUT: 1 ;; esac')
    with consumer(vhost_url, command=command):
        done = run("submit", "-", stdin='{"n": 1}\n{"bad": 2}\nnot json', CONSUMER_AMQP_URL=vhost_url)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["status"] for result in results] == ["succeeded", "failed", "failed"]
    assert [result.get("error", {}).get("code") for result in results] == [None, "classifier_error", "invalid_job"]
    assert "3 jobs: 1 succeeded, 2 failed" in done.stderr
    assert done.returncode == 1


def test_submit_to_a_queue_that_is_not_there_says_so(vhost_url: str) -> None:
    done = run("submit", "-", stdin="{}", CONSUMER_AMQP_URL=vhost_url)
    assert (done.returncode, "start a consumer" in done.stderr) == (os.EX_CONFIG, True)
    assert "Traceback" not in done.stderr


def test_submit_gives_up_on_a_reply_that_does_not_come(vhost_url: str, tmp_path: Path) -> None:
    with consumer(vhost_url, command=script(tmp_path, "echo OUTPUT: 1")) as running:
        running.stop()
    done = run("submit", "-", "--timeout", "0.2", stdin="{}", CONSUMER_AMQP_URL=vhost_url)
    assert json.loads(done.stdout)["status"] == "no_reply"
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("lines", "code", "shown"),
    [
        (["echo 'LOG: hello'", "echo 'OUTPUT: {\"n\": 1}'"], 0, ["Succeeded", "ack", '"n": 1']),
        (["echo 'PROGRESS: 0.4 fitting'", "echo OUTPUT: 1"], 0, ["progress     40% fitting"]),
        (["echo ERROR: no"], 1, ["Failed", "classifier_error", "dead-letter"]),
        (["echo why >&2; exit 3"], 1, ["Crashed", "exited with code 3", "why", "retry"]),
    ],
    ids=["good", "progress", "error", "crash"],
)
def test_try_tells_what_would_happen_to_a_job(
    tmp_path: Path, lines: list[str], code: int, shown: list[str]
) -> None:
    done = run("try", "-", stdin="{}", CONSUMER_COMMAND=script(tmp_path, *lines), CONSUMER_JOB_DIR=str(tmp_path))
    assert done.returncode == code
    for text in shown:
        assert text in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"classify.sh"}


def test_without_a_url_submit_names_the_choices(tmp_path: Path) -> None:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CONSUMER_")}
    done = forked.run("consumer", "submit", "-", cwd=tmp_path, env=ours, stdin="{}")
    assert done.returncode == os.EX_CONFIG
    assert "CONSUMER_AMQP_URL" in done.stderr
    assert "consumer local-broker up" in done.stderr


def test_a_model_that_nobody_trusts_stops_the_start_and_trusting_it_is_one_command(tmp_path: Path) -> None:
    for command in ("generate --out data.csv --per-class 8", "train data.csv --out models/machines --no-trust"):
        forked.run("classifier", *command.split(), cwd=tmp_path).check_returncode()
    job, models = '{"signal": [1, 2, 3]}', str(tmp_path / "models")
    refused = run("try", "-", stdin=job, CONSUMER_MODELS_DIR=models)
    assert refused.returncode == os.EX_CONFIG
    assert (
        f"{models}/machines.model is not trusted, so it was not loaded: there is no {models}.trusted"
        in refused.stderr
    )
    assert "Traceback" not in refused.stderr
    (remedy,) = re.findall(r"`(classifier trust .*)`", refused.stderr)
    subprocess.run(f"{BIN}/{remedy}", shell=True, check=True)  # noqa: S602 - as the user would
    assert run("try", "-", stdin=job, CONSUMER_MODELS_DIR=models).returncode == os.EX_OK
