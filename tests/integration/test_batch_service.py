"""Batches behind a real RabbitMQ: each job is settled by itself, and whatever befalls a batch loses none."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.processes.commands import environment
from support.processes.consumer_process import ConsumerProcess, consumer
from support.processes.health import Probe
from support.rabbitmq.producer import Producer
from support.rabbitmq.tcp_proxy import Proxy
from support.waiting import wait_until

from consumer.local_broker.node import Node
from consumer.service.fetching import DECIDE_S

JOBS, DEAD = "classifier.jobs", "classifier.dead"
#: Waits for the test's go where a job says so: meanwhile the others gather.
MODULE = """
import os, signal, time
from pathlib import Path
from classifier.contract import JobError, batch, log

HERE = Path(__file__).parent

@batch
def classify(jobs):
    for file in {job["hold"] for job in jobs if "hold" in job}:
        log(f"holds until {file}")
        while not (HERE / file).exists():
            time.sleep(0.01)
    time.sleep(max(job.get("ms", 0) for job in jobs) / 1000)
    return [answer(job, len(jobs)) for job in jobs]

def answer(job, jobs):
    if "bad" in job:
        return JobError(job["bad"])
    if job.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    return {"n": job.get("n"), "jobs": jobs, "pid": os.getpid()}
"""
SETTINGS: dict[str, object] = {"classifier": "mine:classify", "pool_size": 1, "max_attempts": 1}
#: So many jobs are fetched ahead of the only slot when `in_batches` is done, or more.
AHEAD = 8


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a job with `hold` waits for."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "mine.py").write_text(MODULE)
    return tmp_path / "go"


@pytest.fixture
def proxy(node: Node) -> Iterator[Proxy]:
    """Stands between consumer and RabbitMQ. What it passes on `together` is read at once.

    A consumer of `in_batches` takes 1 + AHEAD jobs, and aiormq reads ten frames at a time: three jobs or more are
    handled in the same moment.
    """
    with Proxy.open(node.amqp_port) as proxy:
        yield proxy


@contextmanager
def in_batches(url: str, producer: Producer, **settings: object) -> Iterator[ConsumerProcess]:
    """Run a consumer that has measured that batches pay: a call costs 4 ms, whatever the number of jobs."""
    reply_to = producer.reply_queue()
    with consumer(url, http_port=0, **SETTINGS | settings) as running:

        def is_ahead() -> bool:
            publish(producer, reply_to, *({"ms": 4} for _ in range(100)))
            taken(producer, reply_to, 100)
            # An idle consumer decides once more at most, and the loop that answers has done so at the first
            # answer. Until RabbitMQ has carried it out, the proxy must hold nothing back: the new consumer would
            # be missing.
            ahead = [number_later(running, "slots_ahead") for _ in range(3)]
            return min(ahead) >= AHEAD and len(set(ahead)) == 1

        wait_until(is_ahead, "jobs to be fetched ahead")
        yield running


def number_later(running: ConsumerProcess, name: str) -> float:
    time.sleep(DECIDE_S)
    return number(running, name)


def number(running: ConsumerProcess, name: str) -> float:
    lines = dict(line.rpartition(" ")[::2] for line in Probe.of(running).ask("metrics")[1].splitlines())
    return float(lines[f"classifier_{name}"])


def publish(producer: Producer, reply_to: str, *jobs: dict[str, Any], **properties: Any) -> None:  # noqa: ANN401 - AMQP
    for job in jobs:
        producer.publish(JOBS, json.dumps(job).encode(), reply_to=reply_to, **properties)


def taken(producer: Producer, queue: str, number: int) -> list[Any]:
    return [producer.take(queue).json for _ in range(number)]


@pytest.mark.usefixtures("go")
def test_each_job_of_a_batch_is_answered_and_settled_by_itself_and_a_bad_one_is_dead_lettered(
    vhost_url: str, proxy: Proxy, producer: Producer
) -> None:
    reply_to = producer.reply_queue()
    with in_batches(proxy.url(vhost_url), producer) as running:
        before = number(running, "batches_run_total")
        same_id = {"message_id": "the same"}
        with proxy.together(b'{"n": 7}'):
            publish(producer, reply_to, *({"n": n} for n in range(6)), {"bad": "no signal"}, {"n": 7}, **same_id)
        replies = taken(producer, reply_to, 8)
        running.wait_for_event("job_settled", job_id="the same", settlement="dead-letter")
        assert number(running, "batches_run_total") > before
        assert number(running, "batches_alone_total") == 0
        assert running.stop() == os.EX_OK
    good = [reply["output"] for reply in replies if "output" in reply]
    assert sorted(output["n"] for output in good) == [0, 1, 2, 3, 4, 5, 7]
    assert all(output["jobs"] > 1 for output in good if output["n"] < 3)
    (bad,) = [reply for reply in replies if "output" not in reply]
    assert (bad["error"]["code"], bad["error"]["message"]) == ("classifier_error", "no signal")
    assert json.loads(producer.take(DEAD).body) == {"bad": "no signal"}
    assert (producer.depth(JOBS), producer.depth(DEAD)) == (0, 0)


@pytest.mark.usefixtures("go")
def test_a_job_that_kills_the_worker_of_its_batch_fails_alone_and_no_attempt_of_others_is_spent(
    vhost_url: str, proxy: Proxy, producer: Producer
) -> None:
    reply_to = producer.reply_queue()
    with in_batches(proxy.url(vhost_url), producer) as running:
        with proxy.together(b'{"n": 7, '):
            publish(producer, reply_to, *({"n": n, "die": n == 1} for n in range(8)))
        replies = taken(producer, reply_to, 8)
        assert running.stop() == os.EX_OK
    assert {reply["output"]["n"] for reply in replies if "output" in reply} == {0, 2, 3, 4, 5, 6, 7}
    (bad,) = [reply for reply in replies if "output" not in reply]
    assert (bad["error"]["code"], bad["attempt"]) == ("crashed", 1)
    assert json.loads(producer.take(DEAD).body)["n"] == 1
    assert any(" of them run again, each alone: killed by SIGKILL" in line for line in running.log)


@pytest.mark.usefixtures("go")
def test_jobs_fetched_ahead_come_in_batches(vhost_url: str, producer: Producer) -> None:
    """By default: nothing is set but the function. It costs the same for one job as for many."""
    reply_to = producer.reply_queue()
    with consumer(vhost_url, **SETTINGS) as running:
        publish(producer, reply_to, *({"n": n, "ms": 4} for n in range(600)))
        outputs = [reply["output"] for reply in taken(producer, reply_to, 600)]
        assert running.stop() == os.EX_OK
    assert sorted(output["n"] for output in outputs) == list(range(600))
    assert max(output["jobs"] for output in outputs) > 2


def test_a_killed_worker_loses_no_job_of_its_batch(go: Path, vhost_url: str, producer: Producer) -> None:
    go.touch()
    reply_to = producer.reply_queue()
    with consumer(vhost_url, **SETTINGS | {"pool_size": 2, "max_attempts": 3}) as running:
        publish(producer, reply_to, *({"n": n} for n in range(200)))
        pids: set[int] = set()
        numbers = []
        for _ in range(200):
            output = producer.take(reply_to).json["output"]
            numbers.append(output["n"])
            if output["pid"] not in pids and len(pids) < 5:
                pids.add(output["pid"])
                os.kill(output["pid"], signal.SIGKILL)
        assert running.stop() == os.EX_OK
    assert sorted(numbers) == list(range(200))
    assert (producer.depth(JOBS), producer.depth(DEAD)) == (0, 0)


def test_a_stop_in_the_middle_of_a_batch_gives_all_its_jobs_back(
    go: Path, vhost_url: str, proxy: Proxy, producer: Producer
) -> None:
    reply_to = producer.reply_queue()
    with in_batches(proxy.url(vhost_url), producer, drain_grace_s=0.1) as running:
        with proxy.together(b'{"n": 4, '):
            publish(producer, reply_to, *({"n": n, "hold": "go"} for n in range(5)))
        running.wait_for_event("job_log", "holds until go")
        assert running.stop() == os.EX_OK
    wait_until(lambda: producer.depth(JOBS) == 5, "the jobs to be back")
    go.touch()
    with consumer(vhost_url, **SETTINGS):
        replies = taken(producer, reply_to, 5)
    assert sorted(reply["output"]["n"] for reply in replies) == [0, 1, 2, 3, 4]
    assert {reply["attempt"] for reply in replies} == {1}


def test_the_outcomes_of_a_batch_outlive_its_connection_and_each_job_is_answered_once(
    go: Path, vhost_url: str, proxy: Proxy, producer: Producer
) -> None:
    reply_to = producer.reply_queue()
    with in_batches(proxy.url(vhost_url), producer) as running:
        with proxy.together(b'{"n": 2}'):
            for n in range(3):  # with ids, by which a redelivery is known
                publish(producer, reply_to, {"n": n} | ({} if n else {"hold": "go"}), message_id=f"m{n}")
        running.wait_for_event("job_log", "holds until go")
        proxy.refuse()
        running.wait_for_event("connection_lost")
        go.touch()
        for _ in range(3):
            running.wait_for_event("job_not_settled")
        proxy.accept()
        outputs = [reply["output"] for reply in taken(producer, reply_to, 3)]
        assert running.stop() == os.EX_OK
    assert sorted((output["n"], output["jobs"]) for output in outputs) == [(n, 3) for n in range(3)]
    assert producer.depth(reply_to) == 0
    assert len(running.events("job_log", "holds until go")) == 1
    assert producer.depth(JOBS) == 0


def test_a_function_that_takes_no_batch_stops_the_start_and_says_what_to_do(go: Path, vhost_url: str) -> None:
    go.with_name("mine.py").write_text("def classify(job): ...")
    failed = ConsumerProcess(environment(vhost_url, **SETTINGS, batch_size=8))
    assert failed.end() == os.EX_CONFIG
    assert "mine:classify takes one job at a time, and batch_size is more than 1: declare one" in "".join(
        failed.log
    )
