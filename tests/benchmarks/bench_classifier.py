"""What the classifier and a program per job cost, against the bounds that we hold them to.

Run by `make bench`, which prints each figure. CPU time where it can be had: wall time on a shared machine says
more about the neighbours.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import plaid
import pytest
from fakes import never
from harness import BIN

from classifier import datasets, train
from classifier.classify import classify
from consumer.job import Job, Outcome, Request, Succeeded
from consumer.jobfiles import JobFiles
from consumer.program import ExecSlot, Program
from consumer.settings import load

TRAINING_BOUND_S = 10.0
PREDICTION_BOUND_S = 0.025
PREDICTIONS = 200
EXEC_JOBS = 5


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plaid.require()
    folder = tmp_path_factory.mktemp("models")
    command: list[str | Path] = [
        BIN / "classifier",
        "train",
        plaid.TRAIN,
        "--test",
        plaid.TEST,
        "--out",
        folder / "plaid",
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def test_training_on_plaid_takes_less_than_10_s() -> None:
    plaid.require()
    data = datasets.read(plaid.TRAIN)
    begun = time.perf_counter()
    train.fit(data)
    taken_s = time.perf_counter() - begun
    print(f"\ntraining on PLAID, {len(data)} signals, features and fit: {taken_s:.2f} s")
    assert taken_s < TRAINING_BOUND_S


def test_one_prediction_with_the_model_loaded_takes_less_than_25_ms(models: Path) -> None:
    taken_s = []
    for signal in datasets.read(plaid.TEST).signals[:PREDICTIONS]:
        job = {"signal": signal.tolist()}
        begun = time.perf_counter()
        classify(job, models)
        taken_s.append(time.perf_counter() - begun)
    print(f"\none prediction on PLAID, median of {len(taken_s)}: {median(taken_s) * 1000:.1f} ms")
    assert median(taken_s) < PREDICTION_BOUND_S


async def _in_turn(slot: ExecSlot, job: Job) -> list[Outcome]:
    return [await slot.run(job, never()) for _ in range(EXEC_JOBS)]


def test_a_program_per_job(models: Path, tmp_path: Path) -> None:
    """No bound yet: what the warm workers will be compared with."""
    command = [sys.executable, "-m", "classifier"]
    settings = load({"command": command, "models_dir": models, "job_dir": tmp_path}, {})
    body = json.dumps({"signal": datasets.read(plaid.TEST).signals[0].tolist()}).encode()
    files = JobFiles.open(tmp_path)
    slot = ExecSlot(Program.from_settings(settings, os.environ), files.folder_of_slot())
    job = Job(request=Request(id="bench", correlation_id="bench"), body=body, timeout_s=60)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    outcomes = asyncio.run(_in_turn(slot, job))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    files.close()
    assert all(isinstance(outcome, Succeeded) for outcome in outcomes)
    cpu_s = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / EXEC_JOBS
    wall_s = median(outcome.run_s for outcome in outcomes)
    print(f"\na program per job: {cpu_s:.2f} s of CPU each, {wall_s:.2f} s median run time")
