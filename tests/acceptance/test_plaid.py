"""Real signals through RabbitMQ, from three producers: the labels are those of the same model in-process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.plaid import TEST, TRAIN, require
from support.processes.commands import BIN
from support.processes.consumer_process import ConsumerProcess, consumer
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S

#: `consumer submit` sends all 537 test signals. pika waits for each confirm and `amqp-publish` is a program per
#: job, so these send some, spread over the file, so over classes.
PIKA_EVERY, PROGRAM_EVERY = 8, 36


@dataclass(frozen=True)
class Trained:
    """A model trained on PLAID, its test signals as jobs, and the labels that it gives them in-process."""

    models: Path
    jobs: list[str]
    labels: list[str]


def classifier(*arguments: str | Path) -> str:
    done = subprocess.run([BIN / "classifier", *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    require()
    folder = tmp_path_factory.mktemp("plaid")
    models = folder / "models"
    classifier("train", TRAIN, "--test", TEST, "--out", models / "plaid", "--onnx")
    jobs = classifier("jobs", TEST, "--model", "plaid").splitlines()
    answers = classifier("predict", TEST, "--model", "plaid", "--models", models).splitlines()
    labels = [json.loads(answer)["label"] for answer in answers]
    assert len(set(labels)) > 5, "signals of one class would prove nothing"
    return Trained(models, jobs, labels)


@pytest.fixture(params=["ONNX", "pickle"])
def models(request: pytest.FixtureRequest, trained: Trained, tmp_path: Path) -> Path:
    """The folder as it is, where ONNX is served, or with the pickle alone."""
    if request.param == "ONNX":
        return trained.models
    classifier("trust", shutil.copy(trained.models / "plaid.model", tmp_path))
    return tmp_path


@pytest.fixture
def running(models: Path, vhost_url: str) -> Iterator[ConsumerProcess]:
    with consumer(vhost_url, models_dir=models) as process:
        yield process


@pytest.mark.parametrize("reply_through", [[], ["--direct"]], ids=["reply queue", "direct reply-to"])
def test_consumer_submit(
    trained: Trained, running: ConsumerProcess, vhost_url: str, tmp_path: Path, reply_through: list[str]
) -> None:
    (tmp_path / "jobs.jsonl").write_text("\n".join(trained.jobs))
    out = tmp_path / "results.jsonl"
    command: list[str | Path] = [BIN / "consumer", "submit", tmp_path / "jobs.jsonl", "--out", out, *reply_through]
    environment = {**os.environ, "CONSUMER_AMQP_URL": vhost_url}
    subprocess.run(command, env=environment, check=True, timeout=PATIENCE_S)
    results = [json.loads(line) for line in out.read_text().splitlines()]
    assert [result["output"]["label"] for result in results] == trained.labels
    assert running.process.poll() is None


def test_pika(trained: Trained, running: ConsumerProcess, vhost_url: str) -> None:
    with Producer(vhost_url) as producer:
        reply_to = producer.reply_queue()
        for number, job in enumerate(trained.jobs[::PIKA_EVERY]):
            producer.publish("classifier.jobs", job.encode(), correlation_id=str(number), reply_to=reply_to)
        replies = [producer.take(reply_to) for _ in trained.jobs[::PIKA_EVERY]]
    labels = {int(reply.properties.correlation_id): reply.json["output"]["label"] for reply in replies}
    assert [labels[number] for number in sorted(labels)] == trained.labels[::PIKA_EVERY]
    assert running.process.poll() is None


def test_amqp_publish(trained: Trained, running: ConsumerProcess, vhost_url: str) -> None:
    """Debian's amqp-tools set no ids, so one job at a time: the next reply is its answer."""
    if shutil.which("amqp-publish") is None:
        pytest.skip("no amqp-publish; install it with `sudo apt-get install amqp-tools`")
    command = ["amqp-publish", f"--url={vhost_url}", "--routing-key=classifier.jobs", "--persistent"]
    labels = []
    with Producer(vhost_url) as producer:
        for job in trained.jobs[::PROGRAM_EVERY]:
            subprocess.run(command, input=job, text=True, check=True)
            labels.append(producer.take("classifier.results").json["output"]["label"])
    assert labels == trained.labels[::PROGRAM_EVERY]
    assert running.process.poll() is None
