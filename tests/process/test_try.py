"""`consumer try`: what the classifier printed, the traceback once, and all of it as JSON."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.docs_pages.pages import block
from support.processes import forked

MODULE = """
import os, sys
from classifier.contract import log, progress

def classify(job):
    print("a line of its own")
    log("a line for the log")
    progress(0.5, "half")
    print("a warning", file=sys.stderr)
    if job.get("fails"):
        raise ValueError("boom")
    if job.get("crashes"):
        os._exit(3)
    return {"n": len(job)}
"""
SCRIPT = """#!/bin/sh
echo 'a line of its own'
echo 'LOG: a line for the log'
echo 'PROGRESS: 0.5 half'
echo 'a warning' >&2
case "$(cat "$1")" in *fails*) echo 'ERROR: no' ;; *crashes*) exit 3 ;; *) echo 'OUTPUT: {"n": 1}' ;; esac
"""
PRINTED = ["stdout       a line of its own", "LOG          a line for the log", "progress     50% half"]


@pytest.fixture(params=["function", "program"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "mine.py").write_text(MODULE)
    program = tmp_path / "classify.sh"
    program.write_text(SCRIPT)
    program.chmod(0o755)
    own = {"CONSUMER_CLASSIFIER": "mine:classify"}
    return own if request.param == "function" else {"CONSUMER_COMMAND": json.dumps([str(program)])}


def tried(folder: Path, settings: dict[str, str], job: dict[str, Any], *flags: str) -> tuple[int, str, str]:
    (folder / "job.json").write_text(json.dumps(job))
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CONSUMER_")}
    done = forked.run("consumer", "try", "job.json", *flags, cwd=folder, env={**ours, **settings})
    return done.returncode, done.stdout, done.stderr


def test_what_the_classifier_printed_is_shown_and_nothing_is_logged(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    code, out, err = tried(tmp_path, settings, {})
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[1:4] == PRINTED
    assert "stderr       a warning" in lines
    assert "outcome      Succeeded" in lines


def test_a_failed_job_shows_its_traceback_once(tmp_path: Path, settings: dict[str, str]) -> None:
    code, out, _ = tried(tmp_path, settings, {"fails": 1})
    assert code == 1
    assert out.splitlines()[1:4] == PRINTED
    assert out.count("a warning") == 1
    assert out.count("Traceback") == (1 if "CONSUMER_CLASSIFIER" in settings else 0)
    assert '"stderr_tail": "(shown above)"' in out


def test_json_has_all_of_it_in_one_document(tmp_path: Path, settings: dict[str, str]) -> None:
    code, out, err = tried(tmp_path, settings, {"crashes": 1}, "--json")
    found = json.loads(out)
    assert (code, err) == (1, "")
    assert [f"{one['kind']:<13}{one['text']}" for one in found["printed"]] == PRINTED
    assert (found["outcome"], found["code"], found["disposition"]) == ("Crashed", "crashed", "retry")
    assert (found["stderr_tail"], found["reply"]) == ("a warning", None)


def test_a_function_without_a_return_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def classify(job):\n    label = 'on'\n")
    settings = {"CONSUMER_CLASSIFIER": "mine:classify"}
    code, out, _ = tried(tmp_path, settings, {})
    assert code == 0
    assert "warning      the result is null; return the result from the function" in out
    _, out, _ = tried(tmp_path, settings, {}, "--json")
    assert json.loads(out)["warning"].startswith("the result is null; ")


def test_an_error_before_the_run_is_json_too(tmp_path: Path) -> None:
    for flags, code in (([], os.EX_NOINPUT), (["--pool-size", "x"], os.EX_CONFIG)):
        done = forked.run("consumer", "try", "none.json", "--json", *flags, cwd=tmp_path)
        error = json.loads(done.stdout)["error"]
        assert (done.returncode, error["exit_code"]) == (code, code)
        assert f"consumer: {error['message']}\n" == done.stderr


def test_a_module_that_does_not_load_shows_its_own_line_alone(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import no_such_library\n")
    code, _, err = tried(tmp_path, {"CONSUMER_CLASSIFIER": "broken:classify"}, {})
    assert code == os.EX_CONFIG
    assert err.splitlines()[1:] == [
        "Traceback (most recent call last):",
        f'  File "{tmp_path}/broken.py", line 1, in <module>',
        "    import no_such_library",
        "ModuleNotFoundError: No module named 'no_such_library'",
    ]


def test_a_job_that_is_missing_ends_with_66(tmp_path: Path) -> None:
    done = forked.run("consumer", "try", "none.json", cwd=tmp_path)
    assert done.returncode == os.EX_NOINPUT
    assert done.stderr == "consumer: none.json cannot be read: No such file or directory\n"


def test_the_function_of_the_page_calls_a_pickled_model_of_scikit_learn(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression())
    (tmp_path / "pumps.pkl").write_bytes(pickle.dumps(model.fit([[0, 0], [1, 1]], ["off", "on"])))
    (tmp_path / "mine.py").write_text(block("docs/classifiers.md", "own-model").text)
    settings = {"CONSUMER_CLASSIFIER": "mine:classify"}
    code, out, _ = tried(tmp_path, settings, {"signal": [1, 1]})
    assert (code, '"label": "on"' in out) == (0, True)
    code, out, _ = tried(tmp_path, settings, {"signal": [1]})
    assert code == 1
    assert "message      the signal has 1 points; the model needs 2" in out.splitlines()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("jobs.jsonl", "{}\n{}\n{}\n", "jobs.jsonl contains 3 jobs, and `try` runs one: `head -1 jobs.jsonl | "),
        ("jobs.json", '{"a": 1}\n{"a": 2}', "jobs.json contains 2 jobs"),
        (
            "pumps.csv",
            "on,1,2\n",
            "pumps.csv contains signals, and `try` runs one job: `classifier jobs pumps.csv | ",
        ),
    ],
)
def test_a_file_of_many_jobs_is_answered_with_what_runs_them(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    (tmp_path / name).write_text(content)
    done = forked.run("consumer", "try", name, cwd=tmp_path)
    assert done.returncode == os.EX_NOINPUT
    assert reason in done.stderr
    assert f"`consumer submit {name}` all" in done.stderr
