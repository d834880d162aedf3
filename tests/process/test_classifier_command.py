"""The `classifier` command and `python -m classifier`, from generated signals to answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from replaced_libraries import REPLACED_FIRST
from support.processes import forked

PNG = b"\x89PNG\r\n\x1a\n"


def classifier(
    *arguments: str | Path, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return forked.run("classifier", *arguments, cwd=folder, env={**os.environ, **(environment or {})})


def answers(result: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in result.stdout.split("\n") if line.startswith(("OUTPUT:", "ERROR:"))]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with generated signals, and a model trained on them."""
    home = tmp_path_factory.mktemp("home")
    for name, seed in (("train.csv", "1"), ("test.csv", "2")):
        made = classifier("generate", "--out", name, "--per-class", "8", "--seed", seed, folder=home)
        assert made.returncode == 0, made.stderr
    trained = classifier(
        *("train", "train.csv", "--test", "test.csv", "--out", "models/machines"),
        *("--plot", "new/matrix.png", "--reshuffles", "2"),
        folder=home,
    )
    assert (trained.returncode, trained.stderr) == (0, "")
    (home / "report.txt").write_text(trained.stdout, encoding="utf-8")
    return home


def job(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "job.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def first_job(home: Path) -> dict[str, Any]:
    lines = classifier("jobs", "test.csv", "--labels", folder=home).stdout.splitlines()
    found: dict[str, Any] = json.loads(lines[0])
    return found


def test_training_reports_figures_and_saves_model_and_picture(home: Path) -> None:
    report = (home / "report.txt").read_text(encoding="utf-8")
    for wanted in ("training 80 signals, 10 classes", "accuracy", "balanced accuracy", "confusion matrix"):
        assert wanted in report
    for wanted in ("precision", "s for features", "mean of 2", "bearing_fault", "model 'machines' saved"):
        assert wanted in report
    assert (home / "new" / "matrix.png").read_bytes().startswith(PNG)
    assert (home / "models" / "machines.model").exists()


def test_training_without_test_data_holds_a_quarter_out_and_says_so(home: Path, tmp_path: Path) -> None:
    result = classifier("train", "train.csv", "--out", tmp_path / "x.model", folder=home)
    assert result.returncode == 0
    assert result.stdout.startswith("no --test: 25% of the signals are held out")
    assert "test     20 signals" in result.stdout
    assert (tmp_path / "x.model").exists()


def test_the_contracts_program_and_predict_give_the_same_answers(home: Path, tmp_path: Path) -> None:
    jobs = classifier("jobs", "test.csv", "--labels", folder=home).stdout.splitlines()
    predicted = classifier("predict", "test.csv", folder=home).stdout.splitlines()
    assert len(jobs) == len(predicted) == 80
    ran = classifier(job(tmp_path, json.loads(jobs[0])), folder=home)
    assert answers(ran) == [f"OUTPUT: {predicted[0]}"]
    assert ran.stderr == ""
    (tmp_path / "jobs.jsonl").write_text("\n".join(jobs), encoding="utf-8")
    assert classifier("predict", tmp_path / "jobs.jsonl", folder=home).stdout.splitlines() == predicted
    assert classifier("predict", tmp_path / "job.json", folder=home).stdout.splitlines() == predicted[:1]


def test_an_answer_has_label_probabilities_and_model(home: Path, tmp_path: Path) -> None:
    content = first_job(home) | {"model": "machines"}
    (line,) = answers(classifier(job(tmp_path, content), folder=home))
    answer = json.loads(line.removeprefix("OUTPUT: "))
    assert set(answer) == {"label", "probabilities", "model", "model_sha256"}
    assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert sum(answer["probabilities"].values()) == pytest.approx(1.0)
    assert answer["model"] == "machines"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "ERROR: signal must be a list of numbers, not null"),
        ({"signal": []}, "ERROR: signal is empty; it needs 1 point at least"),
        ({"signal": [1, float("nan")]}, "ERROR: signal[1] is NaN; every sample must be a finite number"),
        ({"signal": [1], "model": "none"}, "ERROR: there is no model 'none': available: machines"),
        ({"signal": [1], "model": "../models/machines"}, "ERROR: model must be a model's name: up to 64"),
        ({"signal": [1], "model": 7}, "ERROR: model must be a model's name: up to 64"),
    ],
)
def test_a_bad_job_is_one_error_line(home: Path, tmp_path: Path, content: dict[str, Any], reason: str) -> None:
    result = classifier(job(tmp_path, content), folder=home)
    (line,) = answers(result)
    assert line.startswith(reason)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("signal", [[0], [470.5] * 9, [1e300, -1e300], [5e-324, 0]])
def test_an_odd_signal_is_answered_without_a_warning(home: Path, tmp_path: Path, signal: list[float]) -> None:
    result = classifier(job(tmp_path, {"signal": signal}), folder=home)
    assert answers(result)[0].startswith('OUTPUT: {"label": ')
    assert result.stderr == ""


def test_of_several_models_one_is_named_or_called_default(home: Path, tmp_path: Path) -> None:
    content = (home / "models" / "machines.model").read_bytes()
    for name in ("one.model", "two.model"):
        (tmp_path / name).write_bytes(content)
    path, environment = job(tmp_path, {"signal": [1, 2]}), {"CONSUMER_MODELS_DIR": str(tmp_path)}
    (line,) = answers(classifier(path, folder=home, environment=environment))
    assert line == "ERROR: name the model: available: one, two"
    (tmp_path / "default.model").write_bytes(content)
    assert classifier("trust", tmp_path / "default", folder=home).returncode == 0
    (line,) = answers(classifier(path, folder=home, environment=environment))
    assert '"model": "default"' in line


def test_any_function_can_be_the_classifier(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def count(job):\n    return len(job)\n", encoding="utf-8")
    result = classifier("--call", "mine:count", job(tmp_path, {"a": 1, "b": 2}), folder=tmp_path)
    assert answers(result) == ["OUTPUT: 2"]


@pytest.mark.parametrize(
    ("target", "code", "reason"),
    [
        ("no_such_module:f", 1, "ModuleNotFoundError"),
        ("json:no_such_function", 1, "has no function 'no_such_function'; define it there"),
        ("json", 2, "--call needs package.module:function"),
    ],
)
def test_a_function_that_cannot_be_imported_is_not_the_jobs_fault(
    tmp_path: Path, target: str, code: int, reason: str
) -> None:
    result = classifier("--call", target, job(tmp_path, {}), folder=tmp_path)
    assert (result.returncode, answers(result)) == (code, [])
    assert reason in result.stderr


def test_info_describes_a_model_for_people_and_for_programs(home: Path) -> None:
    text = classifier("info", "models/machines", folder=home).stdout
    assert "80 signals of 30" in text
    assert "bearing_fault" in text
    manifest = json.loads(classifier("info", "models/machines.model", "--json", folder=home).stdout)
    assert manifest["name"] == "machines"
    assert manifest["training"]["signals"] == 80
    assert set(manifest["training"]["metrics"]) == {"accuracy", "balanced_accuracy", "reshuffled_accuracy"}


def test_jobs_name_a_model_and_hold_no_label_unless_asked(home: Path) -> None:
    lines = classifier("jobs", "test.csv", "--model", "machines", folder=home).stdout.splitlines()
    assert all(set(json.loads(line)) == {"signal", "model"} for line in lines)
    assert set(first_job(home)) == {"signal", "expected"}


def test_a_plot_without_matplotlib_names_the_extra_before_any_training(home: Path, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError\n", encoding="utf-8")
    command = [sys.executable, *REPLACED_FIRST, "train", str(home / "train.csv"), "--out", "x", "--plot", "x.png"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "classifier: --plot needs matplotlib: pip install 'rabbitmq-classifier[plot]'\n"
    assert not (tmp_path / "x.model").exists()


def test_a_reader_that_has_enough_is_no_error(home: Path) -> None:
    command = f"{sys.executable} -m classifier jobs train.csv | head -n 1 | wc -l"
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=home, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, "1", "")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("train", "none.csv", "--out", "models/x"), "cannot read none.csv: No such file"),
        (("train", "train.csv", "--out", "models/a b"), "'a b' is not a valid name for a model"),
        (("train", "train.csv", "--out", "models/x", "--plot", "x.pdf"), "must end in .png: x.pdf"),
        (("train", "train.csv", "--out", "train.csv/x"), "cannot write train.csv/x.model"),
        (("generate", "--out", "x.wav"), "x.wav: the name must end in .csv"),
        (("predict", "test.csv", "--model", "none"), "there is no model 'none': available: machines"),
        (("predict", "test.csv", "--models", "nowhere"), "no models in 'nowhere': make one with"),
        (("info", "report.txt"), "report.txt is not a model of this format: make it with `classifier train`"),
        (("trust", "report.txt"), "load a model of your own in a function"),
        (("predict", "report.txt"), "report.txt is neither JSON nor a data set by its name"),
        (("info", "models/none"), "cannot read the model models/none.model: No such file"),
        (("train", "train.csv", "--out", ""), ". is a folder, not a model; give a name"),
        (("trust", "."), ". is a folder, not a model; give a name"),
        (("predict", "models"), "cannot read models: this is a folder: give a file"),
        (("generate", "--out", "train.csv/x.csv"), "cannot write train.csv/x.csv: "),
        (("jobs", "report.txt"), "the name must end in one of .ts, .tsv, .csv, .npz"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_1(home: Path, arguments: tuple[str, ...], reason: str) -> None:
    result = classifier(*arguments, folder=home)
    assert result.returncode == 1
    assert result.stderr.startswith("classifier: ")
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_broken_line_of_jobs_is_reported_with_its_number_and_fails_alone(home: Path, tmp_path: Path) -> None:
    lines = classifier("jobs", "test.csv", folder=home).stdout.splitlines()[:2]
    answers = classifier("predict", "test.csv", folder=home).stdout.splitlines()[:2]
    content = "\ufeff# by us\n" + lines[0] + "\r\n\r\n[" + "[" * 3000 + "\n" + lines[1] + '\n{"signal": []}\n'
    (tmp_path / "x.ndjson").write_bytes(content.encode())
    for name, given in ((tmp_path / "x.ndjson", ""), ("-", content)):
        result = forked.run("classifier", "predict", name, cwd=home, stdin=given)
        assert result.stdout.splitlines() == answers
        *faults, last = result.stderr.splitlines()
        assert [fault.partition(" is ")[0] for fault in faults[:2]] == [
            f"classifier: {name}, line 1",
            f"classifier: {name}, line 4",
        ]
        assert faults[2].startswith(f"classifier: {name}, line 6: signal is empty")
        assert last == f"classifier: 3 of 5 jobs in {name} have no result"
        assert result.returncode == 1


def test_predict_and_train_tell_how_a_table_was_understood(home: Path, tmp_path: Path) -> None:
    labelled = "".join(f"{'up' if at % 2 else 'down'};{at % 3},5;{at % 5},25\n" for at in range(24))
    (tmp_path / "x.csv").write_text(labelled, encoding="utf-8")
    (tmp_path / "y.csv").write_text("1.5,2,3\n0.25,2,3\n", encoding="utf-8")
    told = "x.csv: 24 signals of 2 points; labels: down, up; separated by semicolons; decimal commas"
    trained = classifier("train", "x.csv", "--out", "models/x", folder=tmp_path)
    assert (trained.returncode, trained.stdout.splitlines()[1]) == (0, told)
    predicted = classifier("predict", tmp_path / "y.csv", folder=home)
    assert predicted.stderr == f"{tmp_path / 'y.csv'}: 2 signals of 3 points; no labels\n"
    assert len(predicted.stdout.splitlines()) == 2


@pytest.mark.parametrize("command", ["train x --out y", "predict x.json", "jobs x"])
def test_what_is_no_file_is_refused_rather_than_waited_for(tmp_path: Path, command: str) -> None:
    name, *rest = command.split()
    os.mkfifo(tmp_path / "x.csv")
    os.mkfifo(tmp_path / "x.json")
    arguments = ["x.csv" if word == "x" else word for word in rest]
    result = classifier(name, *arguments, folder=tmp_path)
    assert result.returncode == 1
    assert result.stderr.endswith("this is a named pipe: give a file\n")
    assert result.stderr.count("\n") == 1


def test_a_full_disk_behind_standard_output_is_one_line(home: Path) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        result = subprocess.run(
            [sys.executable, "-m", "classifier", "jobs", "train.csv"],
            cwd=home,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert result.stderr == "classifier: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize(
    "arguments",
    [("--nonsense",), ("train", "x.csv"), ("generate", "--per-class", "0"), ("generate", "--seed", "-1")],
)
def test_a_wrong_argument_is_exit_code_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = classifier(*arguments, folder=tmp_path)
    assert result.returncode == 2
    assert "--help`.\n" in result.stderr


def test_without_a_command_the_help_lists_the_commands_and_the_exit_code_is_2(tmp_path: Path) -> None:
    result = classifier(folder=tmp_path)
    assert result.returncode == 2
    assert "\n  train " in result.stderr
