"""Warm workers behind a real RabbitMQ: a killed worker costs an attempt and no job, SIGHUP brings new code."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.processes.commands import environment
from support.processes.consumer_process import ConsumerProcess, consumer
from support.rabbitmq.management_api import Management
from support.rabbitmq.producer import Producer
from support.waiting import wait_until

JOBS = "classifier.jobs"
MODULE = """
import os, signal
from pathlib import Path
from classifier.contract import context, log

def classify(job):
    if job.get("die") and context().attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {{"version": {version}, "pid": os.getpid(), "n": job.get("n")}}
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = tmp_path / "mine.py"
    path.write_text(MODULE.format(version=1))
    return path


@pytest.fixture
def running(module: Path, vhost_url: str) -> Iterator[ConsumerProcess]:
    with consumer(vhost_url, classifier=f"{module.stem}:classify", pool_size=2) as process:
        yield process


def publish(producer: Producer, reply_to: str, *jobs: Mapping[str, object]) -> None:
    for job in jobs:
        producer.publish(JOBS, json.dumps(job).encode(), reply_to=reply_to)


def test_a_job_whose_worker_was_killed_is_tried_again_and_answered(
    running: ConsumerProcess, producer: Producer
) -> None:
    reply_to = producer.reply_queue()
    publish(producer, reply_to, *({"n": n, "die": n % 20 == 0} for n in range(100)))
    replies = [producer.take(reply_to).json for _ in range(100)]
    assert {reply["output"]["n"] for reply in replies} == set(range(100))
    second = {reply["output"]["n"] for reply in replies if reply["attempt"] == 2}
    assert second == set(range(0, 100, 20))
    assert running.stop() == os.EX_OK


def test_sighup_brings_new_code_and_keeps_the_old_where_the_new_does_not_load(
    running: ConsumerProcess, producer: Producer, module: Path
) -> None:
    reply_to = producer.reply_queue()

    def version() -> int:
        publish(producer, reply_to, {})
        return int(producer.take(reply_to).json["output"]["version"])

    assert version() == 1
    module.write_text(MODULE.format(version=22))
    running.signal(signal.SIGHUP)
    running.wait_for_event("reloaded")
    assert [version() for _ in range(3)] == [22, 22, 22]
    module.write_text("1 / 0  # nobody has tried this")
    running.signal(signal.SIGHUP)
    running.wait_for_event("reload_failed", "ZeroDivisionError")
    assert version() == 22
    assert running.stop() == os.EX_OK


def test_after_a_reload_the_consumer_says_what_it_runs_now(
    running: ConsumerProcess, management: Management, module: Path
) -> None:
    def loaded() -> set[str]:
        return {one["arguments"]["loaded"] for one in management.get("consumers/{vhost}")}

    wait_until(loaded, "RabbitMQ's list of consumers")
    before = loaded()
    module.write_text(MODULE.format(version=22))
    running.signal(signal.SIGHUP)
    running.wait_for_event("reloaded")
    wait_until(lambda: loaded() and loaded().isdisjoint(before), "the new description")


def test_a_reload_while_jobs_come_loses_none(running: ConsumerProcess, producer: Producer) -> None:
    reply_to = producer.reply_queue()
    for part in range(3):
        publish(producer, reply_to, *({"n": part * 50 + n} for n in range(50)))
        running.signal(signal.SIGHUP)
    replies = [producer.take(reply_to).json for _ in range(150)]
    assert sorted(reply["output"]["n"] for reply in replies) == list(range(150))
    assert {reply["attempt"] for reply in replies} == {1}
    running.wait_for_event("reloaded")
    assert running.stop() == os.EX_OK


def test_a_classifier_that_does_not_load_ends_the_start_with_its_traceback(module: Path, vhost_url: str) -> None:
    module.write_text("import no_such_library")
    failed = ConsumerProcess(environment(vhost_url, classifier="mine:classify"))
    assert failed.end() == os.EX_CONFIG
    log = "".join(failed.log)
    assert "the classifier mine:classify cannot be loaded, exited with code 1:" in log
    assert "ModuleNotFoundError: No module named 'no_such_library'" in log


def test_a_stop_does_not_wait_for_a_classifier_that_loads(module: Path, vhost_url: str) -> None:
    module.write_text("import signal, sys\nprint('loading', file=sys.stderr, flush=True)\nsignal.pause()\n")
    loading = ConsumerProcess(environment(vhost_url, classifier="mine:classify"), log_level="DEBUG")
    loading.wait_for(": loading")  # what the classifier prints
    assert loading.stop() == os.EX_OK


def test_a_stop_leaves_no_process_of_the_classifiers(running: ConsumerProcess, producer: Producer) -> None:
    reply_to = producer.reply_queue()
    publish(producer, reply_to, {})
    worker = os.pidfd_open(producer.take(reply_to).json["output"]["pid"])
    assert running.stop() == os.EX_OK
    with pytest.raises(ProcessLookupError):  # reaped, not just dead: we would be told of a zombie by success
        signal.pidfd_send_signal(worker, 0)
    os.close(worker)
