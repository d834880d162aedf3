"""Jobs fetched ahead of the slots, with a real RabbitMQ: when, and how they come back."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.processes.consumer_process import ConsumerProcess, consumer
from support.processes.health import Probe
from support.rabbitmq.producer import Producer
from support.waiting import wait_until

JOBS = "classifier.jobs"
#: Takes some milliseconds, and waits for a file where a job says so.
MODULE = """
import time
from collections.abc import Mapping
from pathlib import Path
from classifier.contract import log

def classify(job):
    time.sleep(0.002)
    if "until" in job:
        log("runs")
        while not Path(job["until"]).exists():
            time.sleep(0.01)
    return job
"""
SETTINGS: dict[str, object] = {"classifier": "mine:classify", "pool_size": 1, "http_port": 0}
#: More than must be known before anything is fetched ahead.
MANY = 200


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "mine.py").write_text(MODULE)


def publish(producer: Producer, reply_to: str, *jobs: Mapping[str, object]) -> None:
    for job in jobs:
        producer.publish(JOBS, json.dumps(job).encode(), reply_to=reply_to)


def number(running: ConsumerProcess, name: str) -> float:
    lines = Probe.of(running).ask("metrics")[1].splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith(f"classifier_{name} ")]
    return float(value)


def fetches_ahead(running: ConsumerProcess, producer: Producer, reply_to: str) -> None:
    """Keep the consumer busy with short jobs until it fetches ahead.

    On a loaded machine short jobs may take long for a while; then nothing is fetched ahead, which is right.
    """

    def is_ahead() -> bool:
        publish(producer, reply_to, *({"n": n} for n in range(MANY)))
        for _ in range(MANY):
            producer.take(reply_to)
        return number(running, "slots_ahead") > 0

    wait_until(is_ahead, "jobs to be fetched ahead")


def test_short_jobs_are_fetched_ahead_by_a_consumer_of_lower_priority(vhost_url: str, producer: Producer) -> None:
    reply_to = producer.reply_queue()
    with consumer(vhost_url, **SETTINGS) as running:
        assert number(running, "slots_ahead") == 0
        fetches_ahead(running, producer, reply_to)
        publish(producer, reply_to, *({"n": n} for n in range(MANY)))
        for _ in range(MANY):
            producer.take(reply_to)
        assert number(running, "jobs_ahead_total") > 0
        assert running.stop() == os.EX_OK


def test_jobs_that_wait_behind_a_long_one_go_to_a_consumer_with_a_free_slot(
    vhost_url: str, producer: Producer, tmp_path: Path
) -> None:
    reply_to = producer.reply_queue()
    with consumer(vhost_url, **SETTINGS) as stuck:
        fetches_ahead(stuck, producer, reply_to)
        publish(producer, reply_to, {"until": str(tmp_path / "go")}, *({"n": n} for n in range(6)))
        stuck.wait_for_event("job_log", ": runs")
        stuck.wait_for_event("jobs_returned")
        with consumer(vhost_url, **SETTINGS):
            assert {producer.take(reply_to).json["output"]["n"] for _ in range(6)} == set(range(6))
            (tmp_path / "go").touch()
            assert "until" in producer.take(reply_to).json["output"]
        assert number(stuck, "jobs_returned_total") > 0
        assert stuck.stop() == os.EX_OK
    assert producer.depth(JOBS) == 0


def test_a_stop_returns_what_waits_and_lets_the_running_job_end(
    vhost_url: str, producer: Producer, tmp_path: Path
) -> None:
    reply_to = producer.reply_queue()
    with consumer(vhost_url, **SETTINGS) as running:
        fetches_ahead(running, producer, reply_to)
        publish(producer, reply_to, {"until": str(tmp_path / "go")}, *({"n": n} for n in range(20)))
        running.wait_for_event("job_log", ": runs")
        running.signal(signal.SIGTERM)
        wait_until(lambda: producer.depth(JOBS) == 20, "the others to be in the queue")
        (tmp_path / "go").touch()
        assert running.end() == os.EX_OK
    assert "until" in producer.take(reply_to).json["output"]


def test_it_can_be_turned_off(vhost_url: str, producer: Producer) -> None:
    reply_to = producer.reply_queue()
    with consumer(vhost_url, **SETTINGS, look_ahead=False) as running:
        publish(producer, reply_to, *({"n": n} for n in range(MANY)))
        for _ in range(MANY):
            producer.take(reply_to)
        assert number(running, "jobs_ahead_total") == 0
        assert running.stop() == os.EX_OK
