"""Many requests by HTTP while RabbitMQ is restarted: each 202 is answered, each failure says why.

A node of its own, since it is stopped and alarmed here.
"""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from threading import Event

import pytest
from support.measurements import Tell
from support.processes.consumer_process import consumer
from support.processes.gateway_process import Answered, Caller, Gateway, gateway
from support.rabbitmq.management_api import rabbitmqctl
from support.soak import often
from support.waiting import PATIENCE_S, wait_until

from consumer.gateway.problems import CONTENT_TYPE, KINDS, Reason
from consumer.local_broker import node as local_broker

REQUESTS = often(350, in_soak=1000)
CALLERS = 16
#: So many are answered before RabbitMQ is told to stop, so many are sent while it stops, however long that takes,
#: and so many when it is back; the others are sent while it is away.
BEFORE, STOPPING, AFTER = often(50, in_soak=300), often(150, in_soak=300), 50
PACE_S = 0.01
#: A caller that is told to come again in two seconds comes sooner, so that many come during the restart.
IMPATIENT_S = 0.25
CLASSIFIER = """
from classifier.contract import JobError

def classify(job):
    if job["n"] % 50 == 0:
        raise JobError("one of fifty fails")
    return job["n"]
"""


@pytest.fixture(scope="module")
def own_node(server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[local_broker.Node]:  # noqa: ARG001
    data_dir = tmp_path_factory.mktemp("rabbitmq-gateway")
    try:
        yield local_broker.up(data_dir)
    finally:
        local_broker.down(data_dir, timeout_s=0)


@dataclass
class Load:
    """Callers who send all requests, by turns to each gateway.

    Mutable state: `answers`, by number; `half`, set once BEFORE of them are there; `stopped`, set once RabbitMQ is
    away; `refused`, set with the first request that a gateway could not take.
    """

    gateways: list[Gateway]
    numbers: queue.SimpleQueue[int | None] = field(default_factory=queue.SimpleQueue)
    answers: dict[int, Answered] = field(default_factory=dict)
    half: Event = field(default_factory=Event)
    stopped: Event = field(default_factory=Event)
    refused: Event = field(default_factory=Event)

    def feed(self, numbers: Iterable[int | None], *, pause_s: float = 0) -> None:
        for number in numbers:
            self.numbers.put(number)
            time.sleep(pause_s)

    @contextmanager
    def callers(self, pool: ThreadPoolExecutor) -> Iterator[list[Future[None]]]:
        """Start them, and let them end however the block ends: the pool waits for its threads for ever."""
        try:
            yield [pool.submit(self.send) for _ in range(CALLERS)]
        finally:
            self.feed([None] * CALLERS)

    def send(self) -> None:
        """Be one caller: every third request waits for the reply."""
        with ExitStack() as stack:
            callers = [stack.enter_context(Caller(door.port)) for door in self.gateways]
            while (number := self.numbers.get()) is not None:
                wait = {"Prefer": "wait=50"} if number % 3 == 0 else {}
                answer = callers[number % 2].post({"n": number}, **wait)
                self.answers[number] = answer
                if len(self.answers) >= BEFORE:
                    self.half.set()
                if answer.status >= 500:
                    self.refused.set()
                    time.sleep(IMPATIENT_S)


def restart(node: local_broker.Node, load: Load) -> None:
    """Keep RabbitMQ away until a request was refused: a gateway outwaits an outage that is short for it."""
    try:
        rabbitmqctl(node, "stop_app")
        load.stopped.set()
        assert load.refused.wait(PATIENCE_S)
    finally:
        rabbitmqctl(node, "start_app")


def is_ready(door: Gateway) -> bool:
    return door.ask("GET", "/ready").status == HTTPStatus.OK


def fetch(load: Load, number: int) -> Answered:
    """Ask the other gateway for what was only taken."""
    answer = load.answers[number]
    if answer.status != 202:
        return answer
    return load.gateways[(number + 1) % 2].get(answer.json["job_id"], Prefer="wait=50")


def assert_is_told(answer: Answered) -> None:
    """A failure has a status, a reason, a sentence, and says when to come again."""
    problem = answer.json
    assert answer.headers["content-type"] == CONTENT_TYPE
    assert answer.status == problem["status"] == KINDS[Reason(problem["reason"])].status
    assert problem["detail"]
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.soak
def test_of_many_requests_through_a_restart_of_rabbitmq_each_is_answered_or_told_why(
    own_node: local_broker.Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    (tmp_path / "mine.py").write_text(CLASSIFIER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    url = own_node.amqp_url
    with (
        consumer(url, classifier="mine:classify", pool_size=2),
        gateway(url) as one,
        gateway(url) as other,
        ThreadPoolExecutor(CALLERS + 4) as pool,
    ):
        load = Load([one, other])
        with load.callers(pool) as sending:
            load.feed(range(BEFORE))
            assert load.half.wait(PATIENCE_S)
            restarting = pool.submit(restart, own_node, load)
            load.feed(range(BEFORE, BEFORE + STOPPING), pause_s=PACE_S)
            assert load.stopped.wait(PATIENCE_S)
            load.feed(range(BEFORE + STOPPING, REQUESTS - AFTER), pause_s=PACE_S)
            restarting.result()
            for door in (one, other):
                wait_until(partial(is_ready, door), "a gateway that is ready again")
            load.feed(range(REQUESTS - AFTER, REQUESTS))
        for caller in sending:
            caller.result()
        fetched = dict(
            zip(range(REQUESTS), pool.map(lambda number: fetch(load, number), range(REQUESTS)), strict=True)
        )
        failed = {number: answer for number, answer in fetched.items() if answer.status != 200}
        for answer in failed.values():
            assert_is_told(answer)
        statuses = Counter(answer.status for answer in load.answers.values())
        reasons = Counter(answer.json["reason"] for answer in failed.values())
        tell(f"{REQUESTS} requests through a restart: {dict(statuses)}, refused for {dict(reasons)}")
        assert len(load.answers) == REQUESTS
        assert reasons.total() == statuses.total() - statuses[200] - statuses[202]  # each 202 is answered
        assert reasons
        refused = {number for number, answer in load.answers.items() if answer.status >= 400}
        assert not [number for number in refused if not BEFORE / 2 < number < REQUESTS - AFTER]
        for number, answer in fetched.items():
            if answer.status == 200 and number % 50:
                assert answer.json["output"] == number
            elif answer.status == 200:
                assert answer.json["error"]["message"] == "one of fifty fails"


def test_an_alarm_is_told_to_callers_and_the_job_that_ran_into_it_is_done_after_it(
    own_node: local_broker.Node,
) -> None:
    with (
        consumer(own_node.amqp_url, command='["sh", "-c", "echo OUTPUT: 1"]', pool_size=1),
        gateway(own_node.amqp_url) as door,
    ):
        try:
            rabbitmqctl(own_node, "set_vm_memory_high_watermark", "0")
            while (first := door.post({"n": 1})).status == 202:  # RabbitMQ looks at its memory now and then
                pass
            assert_is_told(first)
            assert first.json["reason"] == Reason.CONFIRM_LATE
            said = door.post({"n": 2})
            assert_is_told(said)
            assert said.json["reason"] == Reason.ALARM
            assert door.get(first.json["job_id"]).status == 202
        finally:
            rabbitmqctl(own_node, "set_vm_memory_high_watermark", "0.4")
        assert door.get(first.json["job_id"], Prefer="wait=50").json["output"] == 1
