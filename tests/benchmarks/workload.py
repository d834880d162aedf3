"""What is classified: jobs, the models for them, and the function that every contender calls with a job.

Two workloads. `small` is light work (300 points, scaler, logistic regression), where what a contender adds is
most of what a job costs. `PLAID` is real work (UCR archive: 537 test signals, features and a forest), as one
would deploy it with this service. Models are trained for the run.
"""

from __future__ import annotations

import json
import pickle
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from inside import LOGISTIC_MODEL, LOGISTIC_POINTS
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support import plaid
from support.processes.commands import BIN

from classifier.signals import datasets, machines

SIGNALS_PER_STATE = 26
TRAINING_PER_STATE = 60
#: Enough to converge. How good it is on raw points does not matter here, only that labels differ.
ITERATIONS = 2000
OWN_CLASSIFIER = "classifier.classify:classify"

Job = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """Jobs, a function for them, and its models.

    Attributes:
        name: for tables and keys.
        title: what it is, for people.
        function: package.module:function; `OWN_CLASSIFIER` is what our service runs when none is named.
        one: the same without a form for many, so that our service calls it once per job.
        pickle: the folder with the pickled model.
        onnx: the folder with the ONNX model as well, or why there is none; None where it is not compared.
        jobs: one for each signal.
        labels: what the in-process loop calls each of them.
    """

    name: str
    title: str
    function: str
    one: str
    pickle: Path
    onnx: Path | str | None
    jobs: tuple[Job, ...]
    labels: tuple[str, ...] = ()

    @property
    def best(self) -> Path:
        """The models folder that one would deploy."""
        return self.onnx if isinstance(self.onnx, Path) else self.pickle

    @property
    def jobs_file(self) -> Path:
        """All jobs as JSON lines, for who reads no queue."""
        return self.pickle / "jobs.jsonl"

    def write_jobs(self) -> None:
        self.jobs_file.write_text("".join(f"{json.dumps(job)}\n" for job in self.jobs))


def small(folder: Path) -> Workload:
    """Train the logistic regression on generated machine currents, and make jobs of others."""
    folder.mkdir(parents=True)
    training = machines.generate(TRAINING_PER_STATE)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS))
    model.fit(np.array([signal[:LOGISTIC_POINTS] for signal in training.signals]), training.labels)
    (folder / LOGISTIC_MODEL).write_bytes(pickle.dumps(model))
    signals = machines.generate(SIGNALS_PER_STATE, seed=1).signals
    made = Workload(
        name="small",
        title=f"{LOGISTIC_POINTS} points, scaler and logistic regression from one pickle",
        function="logistic:classify",
        one="logistic:classify_one",
        pickle=folder,
        onnx=None,
        jobs=tuple({"signal": signal[:LOGISTIC_POINTS].tolist()} for signal in signals),
    )
    made.write_jobs()
    return made


def plaid_as_deployed(folder: Path) -> Workload:
    """Train on PLAID as docs/train.md says; all test signals are the jobs."""
    data = datasets.read(plaid.TEST)
    _train(folder / "pickle")
    made = Workload(
        name="PLAID",
        title=f"{len(data)} PLAID test signals, features and a forest of 100 trees",
        function=OWN_CLASSIFIER,
        one="one_by_one:classify",
        pickle=folder / "pickle",
        onnx=_train_onnx(folder / "onnx"),
        jobs=tuple({"signal": signal.tolist()} for signal in data.signals),
    )
    made.write_jobs()
    return made


def _train_onnx(folder: Path) -> Path | str:
    try:
        _train(folder, "--onnx")
    except subprocess.CalledProcessError as failed:
        return f"`classifier train --onnx` failed: {failed.stderr.strip().splitlines()[-1]}"
    return folder


def _train(folder: Path, *options: str) -> None:
    command: list[str | Path] = [BIN / "classifier", "train", plaid.TRAIN, "--test", plaid.TEST]
    subprocess.run([*command, "--out", folder / "plaid", *options], check=True, capture_output=True, text=True)
