"""ONNX beside the pickle: made by the command, served without scikit-learn, and fit for a process that forks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from replaced_libraries import REPLACED_FIRST
from support.processes import forked

from classifier.models import model

#: Only a hang reaches it.
PATIENCE_S = 60

#: What a fork server does: load, fork, and compute in the children alone.
FORK = """
import json, os, sys
import numpy
from classifier import classify

def threads():
    return len(os.listdir("/proc/self/task"))

def answer_of_child(job):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, json.dumps(classify.classify(job)).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = json.loads(pipe.read())
    os.wait()
    return answer

before = threads()
names = classify.preload()
after = threads()
job = json.load(sys.stdin)
children = [answer_of_child(job) for _ in range(2)]
own = classify.classify(job)
libraries = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([names, after - before, children, own, libraries]))
"""


def python(
    *arguments: str | Path, folder: Path, job: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **(environment or {})},
        input=job,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def classifier(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return forked.run("classifier", *arguments, cwd=folder)


def predictions(folder: Path, models: Path) -> list[dict[str, Any]]:
    result = classifier("predict", "test.csv", "--models", models, folder=folder)
    assert (result.returncode, result.stderr.partition(";")[0]) == (0, "test.csv: 80 signals of 314 to 600 points")
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with generated signals, and a model trained on them with --onnx."""
    home = tmp_path_factory.mktemp("trained")
    for name, seed in (("train.csv", "1"), ("test.csv", "2")):
        made = classifier("generate", "--out", name, "--per-class", "8", "--seed", seed, folder=home)
        assert made.returncode == 0, made.stderr
    result = classifier(
        "train", "train.csv", "--test", "test.csv", "--out", "models/machines", "--onnx", folder=home
    )
    assert (result.returncode, result.stderr) == (0, "")
    (home / "report.txt").write_text(result.stdout)
    return home


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(trained, tmp_path / "home")


def test_training_says_that_labels_agree_and_saves_both_files(home: Path) -> None:
    said = (home / "report.txt").read_text()
    assert "ONNX gives all 80 test signals the same label; probabilities differ by up to " in said
    assert "saved as models/machines.onnx.model" in said
    assert {path.name for path in (home / "models").iterdir()} == {"machines.model", "machines.onnx.model"}


def test_the_onnx_is_served_with_the_labels_of_the_pickle(home: Path) -> None:
    (home / "pickles").mkdir()
    shutil.copy(home / "models" / "machines.model", home / "pickles")
    shutil.copy(home / "models.trusted", home / "pickles.trusted")
    onnx, pickled = predictions(home, home / "models"), predictions(home, home / "pickles")
    digests = [model.read_manifest(path).sha256 for path in sorted((home / "models").iterdir())]
    assert {answer["model_sha256"] for answer in pickled} == {digests[0]}
    assert {answer["model_sha256"] for answer in onnx} == {digests[1]}
    assert {answer["model"] for answer in onnx + pickled} == {"machines"}
    assert [answer["label"] for answer in onnx] == [answer["label"] for answer in pickled]
    for one, other in zip(onnx, pickled, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_a_process_loads_onnx_without_threads_or_scikit_learn_and_forks_workers_that_answer(home: Path) -> None:
    job = classifier("jobs", "test.csv", folder=home).stdout.splitlines()[0]
    # As the service sets it for its children; numpy's own threads would start with its import.
    result = python("-c", FORK, folder=home, job=job, environment={"OMP_NUM_THREADS": "1"})
    assert (result.returncode, result.stderr) == (0, "loading models/machines.onnx.model\n")
    names, threads, children, own, libraries = json.loads(result.stdout)
    assert (names, threads) == (["machines"], 0)
    assert children == [own, own]
    assert "onnxruntime" in libraries
    assert not {"sklearn", "scipy", "skl2onnx", "onnx"} & set(libraries)


def test_a_process_that_serves_a_pickle_does_not_import_onnx(home: Path) -> None:
    (home / "models" / "machines.onnx.model").unlink()
    result = python("-c", FORK, folder=home, job='{"signal": [1, 2]}', environment={"OMP_NUM_THREADS": "1"})
    assert result.returncode == 0, result.stderr
    *_, children, own, libraries = json.loads(result.stdout)
    assert children == [own, own]
    assert "sklearn" in libraries
    assert not {"skl2onnx", "onnx", "onnxruntime", "skops"} & set(libraries)


def test_training_again_without_onnx_removes_the_outdated_one_and_says_so(home: Path) -> None:
    result = classifier("train", "test.csv", "--out", "models/machines", folder=home)
    assert "models/machines.onnx.model was made from the model that this one replaces" in result.stdout
    assert [path.name for path in (home / "models").iterdir()] == ["machines.model"]


def test_a_pickle_copied_beside_the_onnx_of_another_is_an_error_with_the_remedy(home: Path) -> None:
    classifier("train", "test.csv", "--out", "other/machines", folder=home)
    shutil.copy(home / "other" / "machines.model", home / "models")
    assert classifier("trust", "models/machines", folder=home).returncode == 0
    result = classifier("predict", "test.csv", folder=home)
    assert result.returncode == 1
    assert "machines.onnx.model was not made from models/machines.model: train again with --onnx" in result.stderr


@pytest.mark.parametrize("library", ["skl2onnx", "onnxruntime"])
def test_without_its_libraries_onnx_is_refused_before_any_training(home: Path, library: str) -> None:
    (home / f"{library}.py").write_text("raise ImportError\n")
    result = python(*REPLACED_FIRST, "train", "train.csv", "--out", "x", "--onnx", folder=home)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "classifier: --onnx needs skl2onnx and onnxruntime: pip install 'rabbitmq-classifier[onnx]'\n"
    )
    assert not (home / "x.model").exists()


def test_where_conversion_fails_the_pickle_is_kept_and_the_exit_code_tells(home: Path) -> None:
    # A library that knows no estimator, in place of the real one.
    (home / "skl2onnx" / "common").mkdir(parents=True)
    (home / "skl2onnx" / "__init__.py").write_text("def to_onnx(*_, **__): raise ValueError('never seen')\n")
    (home / "skl2onnx" / "common" / "data_types.py").write_text("FloatTensorType = list\n")
    result = python(*REPLACED_FIRST, "train", "train.csv", "--out", "models/machines", "--onnx", folder=home)
    assert result.returncode == 1
    assert result.stderr == (
        "classifier: no ONNX file was written, and models/machines.model will be served: "
        "skl2onnx cannot convert ExtraTreesClassifier (never seen)\n"
    )
    assert [path.name for path in (home / "models").iterdir()] == ["machines.model"]
    assert len(predictions(home, home / "models")) == 80


@pytest.mark.parametrize("out", ["models/x.onnx", "models/x.onnx.model"])
def test_a_model_cannot_take_the_name_of_an_onnx_file(home: Path, out: str) -> None:
    result = classifier("train", "train.csv", "--out", out, folder=home)
    assert (result.returncode, result.stdout) == (1, "")
    assert "is the ONNX file of the model 'x'; give --out models/x --onnx" in result.stderr


def test_info_tells_the_kind_and_the_pickle_that_onnx_came_from(home: Path) -> None:
    pickled = model.read_manifest(home / "models" / "machines.model")
    for given in ("models/machines", "models/machines.onnx", "models/machines.onnx.model"):
        said = classifier("info", given, folder=home).stdout
        assert "machines (onnx, " in said
        assert f"converted from the pickle with sha256 {pickled.sha256}" in said
    said = classifier("info", "models/machines.model", folder=home).stdout
    assert "machines (pickle, " in said
    assert "converted from" not in said
    manifest = json.loads(classifier("info", "models/machines", "--json", folder=home).stdout)
    assert (manifest["name"], manifest["kind"]) == ("machines", "onnx")
    assert manifest["converted_from"] == pickled.sha256
