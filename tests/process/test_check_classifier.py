"""`consumer check` and the classifier: what does not load, is not trusted, or makes nothing of the sample."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from support.consumer_check import Row, assert_told, checked
from support.processes import forked

from classifier.models import model
from consumer.preflight.finding import Level

OK, WARNING, FAILURE, SKIPPED = Level
NAMES = ("job folder", "models", "classifier", "sample job")

#: A module of functions, each a classifier that fails in its own way.
MODULE = """
import os, time
from classifier.contract import JobError, error

def good(job):
    return {"n": len(job)}

def refuses(job):
    raise JobError("no signal in it")

def crashes(job):
    os.write(2, b"last words\\n")
    os._exit(3)

def hangs(job):
    time.sleep(60)
"""
THREADS = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"


def classifier(*arguments: str, folder: Path) -> None:
    forked.run("classifier", *arguments, cwd=folder).check_returncode()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trusted model and a job for it."""
    home = tmp_path_factory.mktemp("trained")
    classifier("generate", "--out", "train.csv", "--per-class", "4", folder=home)
    classifier("train", "train.csv", "--out", "models/machines", folder=home)
    (home / "job.json").write_text('{"signal": [1, 2, 3]}')
    return home


@pytest.fixture
def home(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, to be spoilt, and where the service is started; with a module of the operator's own."""
    home = shutil.copytree(trained, tmp_path / "home")
    (home / "mine.py").write_text(MODULE)
    monkeypatch.chdir(home)
    return home


def untrusted(home: Path) -> Mapping[str, object]:
    (home / "models.trusted").unlink()
    return {}


def altered(home: Path) -> Mapping[str, object]:
    with (home / "models" / "machines.model").open("ab") as file:
        file.write(b"x")
    return {}


def of_another_version(home: Path) -> Mapping[str, object]:
    path = home / "models" / "machines.model"
    manifest, body = model.read_manifest(path), model.parse(path, path.read_bytes())[1]
    older = replace(manifest, versions={**manifest.versions, "scikit-learn": "1.2.3"})
    path.write_bytes(model.compose(older, body))
    classifier("trust", "models/machines", folder=home)
    return {}


def pins_among_models(home: Path) -> Mapping[str, object]:
    shutil.move(home / "models.trusted", home / "models" / "pins")
    return {"trusted_models": home / "models" / "pins"}


def without_models(home: Path) -> Mapping[str, object]:
    shutil.rmtree(home / "models")
    return {}


def broken(home: Path) -> Mapping[str, object]:
    (home / "broken.py").write_text("def f(job):\nreturn 1\n")
    return {"classifier": "broken:f"}


def with_threads(home: Path) -> Mapping[str, object]:
    (home / "threads.py").write_text(THREADS + MODULE)
    return {"classifier": "threads:good"}


def without_interpreter(home: Path) -> Mapping[str, object]:
    program = home / "classify.py"
    program.write_text("#!/no/such/python\n")
    program.chmod(0o755)
    return {"command": json.dumps([str(program)])}


def no_job(home: Path) -> Mapping[str, object]:
    (home / "job.json").write_text("[1, 2]")
    return {"classifier": "mine:good"}


def no_file(home: Path) -> Mapping[str, object]:
    (home / "job.json").unlink()
    return {"classifier": "mine:good"}


#: Fifteen of those that `consumer check` is to name. Others: test_check_here.py, test_check.py.
MISCONFIGURED = [
    Row(
        "a module that is not there",
        lambda _: {"classifier": "no_such:classify"},
        "classifier",
        FAILURE,
        "no_such:classify does not load: ModuleNotFoundError: No module named 'no_such'",
        "set PYTHONPATH",
    ),
    Row(
        "a function that is not there",
        lambda _: {"classifier": "mine:classify"},
        "classifier",
        FAILURE,
        "mine.py has no function 'classify'",
        "define it there, or correct `classifier`",
    ),
    Row(
        "a module that is no Python",
        broken,
        "classifier",
        FAILURE,
        "broken:f does not load: IndentationError",
        "correct the module",
    ),
    Row(
        "a model that nobody trusts",
        untrusted,
        "classifier",
        FAILURE,
        "machines.model is not trusted, so it was not loaded: there is no ",
        "run `classifier trust ",
    ),
    Row(
        "a model that was altered",
        altered,
        "classifier",
        FAILURE,
        "machines.model was altered or exchanged, so it was not loaded",
        "restore it, or once you know who made this one, run `classifier trust ",
    ),
    Row(
        "a model of another scikit-learn",
        of_another_version,
        "classifier",
        FAILURE,
        "machines.model was made with scikit-learn 1.2.3 and this is ",
        "retrain it, or pip install scikit-learn==1.2.3",
    ),
    Row(
        "pins that lie among the models",
        pins_among_models,
        "classifier",
        FAILURE,
        "pins is in the models folder, where every user who may write a model could also pin it",
        "move it elsewhere, and set CONSUMER_TRUSTED_MODELS",
    ),
    Row(
        "no models",
        without_models,
        "models",
        FAILURE,
        "no models in ",
        "make one with `classifier train`, set CONSUMER_MODELS_DIR",
    ),
    Row(
        "threads that workers do not inherit",
        with_threads,
        "classifier",
        WARNING,
        "importing it has started 1 threads, which warm workers do not inherit",
        "not by `import` or `preload()`",
    ),
    Row(
        "a program whose interpreter is not there",
        without_interpreter,
        "classifier",
        FAILURE,
        "classify.py names the interpreter /no/such/python, which does not exist",
        "correct the first line of the program, or install the interpreter",
    ),
    Row(
        "a job that the classifier refuses",
        lambda _: {"classifier": "mine:refuses"},
        "sample job",
        FAILURE,
        "classifier_error: no signal in it",
        "correct the job, or the classifier",
    ),
    Row(
        "a classifier that crashes",
        lambda _: {"classifier": "mine:crashes"},
        "sample job",
        FAILURE,
        "crashed: exited with code 3 without an OUTPUT: or ERROR: line\nstderr: last words",
        "correct the classifier",
    ),
    Row(
        "a time limit that is too short",
        lambda _: {"classifier": "mine:hangs", "job_timeout_s": 0.2},
        "sample job",
        FAILURE,
        "timed_out: ",
        "raise job_timeout_s, or make the classifier faster",
    ),
    Row(
        "a sample that is no job",
        no_job,
        "sample job",
        FAILURE,
        "invalid_job: ",
        "name a file that holds one job, a JSON object, as --job",
    ),
    Row(
        "a sample that is not there",
        no_file,
        "sample job",
        FAILURE,
        "job.json cannot be read: No such file or directory",
        "name a file with one job as --job",
    ),
]


@pytest.mark.parametrize("row", MISCONFIGURED, ids=lambda row: row.name)
def test_what_is_wrong_is_told_with_its_remedy(row: Row, home: Path) -> None:
    given = {"job_dir": home / "jobs", **row.arrange(home)}
    assert_told(row, checked(given, *NAMES, sample=home / "job.json"))
    assert list((home / "jobs").iterdir()) == []


def test_a_trusted_model_and_a_job_for_it_are_ok(home: Path) -> None:
    findings = checked({"job_dir": home / "jobs"}, "models", *NAMES, sample=home / "job.json")
    assert {one.what: one.level for one in findings} == dict.fromkeys(("settings", "models", *NAMES), Level.OK)
    assert "succeeded in" in findings[-1].detail


def test_without_a_job_none_is_made_up(home: Path) -> None:
    *_, last = checked({"classifier": "mine:good", "job_dir": home}, *NAMES)
    assert (last.level, last.remedy) == (Level.SKIPPED, "name a file with one: --job JOB.json")


def test_every_model_that_is_refused_has_a_finding_of_its_own(home: Path) -> None:
    shutil.copy(home / "models" / "machines.model", home / "models" / "pumps.model")
    shutil.copy(home / "models" / "machines.model", home / "models" / "fans.model")
    refused = [one for one in checked({"job_dir": home}, *NAMES) if one.what == "classifier"]
    assert [os.path.basename(one.detail.split()[0]) for one in refused] == ["fans.model", "pumps.model"]  # noqa: PTH119


@pytest.mark.parametrize("settings", [{}, {"CONSUMER_MODELS_DIR": "nowhere"}])
def test_run_without_a_model_says_so_before_it_starts_a_node(settings: dict[str, str], tmp_path: Path) -> None:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CONSUMER_")}
    done = forked.run("consumer", "run", cwd=tmp_path, env={**ours, **settings})
    assert done.returncode == os.EX_CONFIG
    assert done.stderr.startswith(f"consumer: no models in {tmp_path}")
    assert not (tmp_path / ".local-broker").exists()
