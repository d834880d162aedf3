"""The gateway before a real RabbitMQ: two of them, one that starts anew, one that stops, a queue that is full."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.processes.commands import environment
from support.processes.consumer_process import ConsumerProcess, consumer
from support.processes.gateway_process import Caller, Gateway, gateway
from support.processes.shell_classifiers import HELD, script
from support.rabbitmq.management_api import Management
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S

from consumer.gateway.problems import CONTENT_TYPE, Reason
from consumer.rabbitmq.management import api
from consumer.wire.topology import Topology

TOPOLOGY = Topology("classifier", 3)


@pytest.fixture
def two(vhost_url: str) -> Iterator[tuple[Gateway, Gateway]]:
    with ExitStack() as stack:
        yield stack.enter_context(gateway(vhost_url)), stack.enter_context(gateway(vhost_url))


def test_any_gateway_answers_for_any_job_also_one_that_was_not_there(
    two: tuple[Gateway, Gateway], vhost_url: str, tmp_path: Path
) -> None:
    one, other = two
    refused = one.post({"n": 0})
    assert (refused.status, refused.json["reason"], refused.headers["retry-after"]) == (503, Reason.NO_QUEUE, "10")
    with consumer(vhost_url, command=script(tmp_path, *HELD), pool_size=1), ThreadPoolExecutor() as callers:
        taken = one.post({"n": 1})
        assert taken.status == 202
        job_id = taken.json["job_id"]
        assert taken.headers["location"] == f"/jobs/{job_id}"
        assert other.get(job_id).json == {"job_id": job_id, "status": "pending"}
        waits = callers.submit(other.get, job_id, Prefer="wait=50")
        posts = callers.submit(one.post, {"n": 2}, Prefer="wait=50")
        (tmp_path / "go").touch()
        reply = waits.result()
        assert (reply.status, reply.json["output"], reply.json["job_id"]) == (200, {"n": 1}, job_id)
        assert one.get(job_id, Prefer="wait=50").body == reply.body  # it reads the stream by itself
        assert posts.result().json["output"] == {"n": 2}
    for running in two:
        assert running.process.stop() == os.EX_OK
    with gateway(vhost_url) as later:
        assert later.get(job_id).body == reply.body
        assert later.ask("GET", "/ready").body == b"ok\n"
        assert b"classifier_gateway_kept 2\n" in later.ask("GET", "/metrics").body
        assert later.process.stop() == os.EX_OK


@pytest.fixture
def one(vhost_url: str) -> Iterator[Gateway]:
    with gateway(vhost_url) as running:
        yield running


def test_what_anybody_writes_to_the_stream_is_no_reply_unless_it_is_one(one: Gateway, producer: Producer) -> None:
    producer.channel.queue_declare(TOPOLOGY.jobs, durable=True)
    taken = one.post({}).json["job_id"]
    good = json.dumps({"job_id": taken, "status": "succeeded", "output": 1, "attempt": 1, "run_ms": 1}).encode()
    for body, kind in ((b"junk", "job.succeeded"), (b"{}", "job.failed"), (good, "other"), (good, None)):
        producer.publish(TOPOLOGY.gateway, body, correlation_id=taken, type=kind)
    producer.publish(TOPOLOGY.gateway, good, correlation_id="not-an-id", type="job.succeeded")
    producer.publish(TOPOLOGY.gateway, good, type="job.succeeded")
    assert one.get(taken, Prefer="wait=1").status == 202
    producer.publish(TOPOLOGY.gateway, good, correlation_id=taken, type="job.succeeded")
    assert one.get(taken, Prefer="wait=50").body == good


def test_sigterm_lets_those_who_wait_be_answered_and_turns_others_away(vhost_url: str, tmp_path: Path) -> None:
    with (
        consumer(vhost_url, command=script(tmp_path, *HELD), pool_size=1) as running,
        gateway(vhost_url) as door,
        ThreadPoolExecutor() as callers,
    ):
        waits = callers.submit(door.post, {"n": 1}, Prefer="wait=50")
        running.wait_for_event("job_log", "begun")
        door.process.signal(signal.SIGTERM)
        door.process.wait_for_event("stopping")
        refused = door.post({"n": 2})
        assert (refused.status, refused.json["reason"]) == (503, Reason.STOPPING)
        assert refused.headers["connection"] == "close"
        assert door.ask("GET", "/ready").body == b"stopping\n"
        (tmp_path / "go").touch()
        assert waits.result().json["output"] == {"n": 1}
        assert door.process.end() == os.EX_OK


def test_who_waits_when_the_grace_is_over_is_told_that_the_job_is_pending(vhost_url: str, tmp_path: Path) -> None:
    with (
        consumer(vhost_url, command=script(tmp_path, *HELD), pool_size=1) as running,
        gateway(vhost_url, drain_grace_s=0.1) as door,
        ThreadPoolExecutor() as callers,
    ):
        waits = callers.submit(door.post, {"n": 1}, Prefer="wait=50")
        running.wait_for_event("job_log", "begun")
        assert door.process.stop() == os.EX_OK
        assert waits.result().status == 202
        (tmp_path / "go").touch()


def test_a_full_queue_is_told_with_when_to_come_again_and_holds_nobody_up_twice(
    vhost_url: str, management: Management, tmp_path: Path
) -> None:
    """The first is tried for some seconds, and on another connection: RabbitMQ 3.10 may refuse by mistake."""
    policy = {"pattern": "jobs$", "definition": {"max-length": 1}, "apply-to": "queues"}
    api(management.node, "PUT", f"policies/{management.vhost}/small", policy)
    with (
        consumer(vhost_url, command=script(tmp_path, *HELD), pool_size=1) as running,
        gateway(vhost_url) as door,
        Caller(door.port) as caller,
    ):
        taken = [caller.post({}).json["job_id"]]
        running.wait_for_event("job_log", "begun")
        while (said := caller.post({})).status == 202:  # RabbitMQ takes a few more than it should
            taken.append(said.json["job_id"])
        assert (said.status, said.json["reason"]) == (503, Reason.MAYBE_TAKEN)
        door.process.wait_for_event("ready")
        said = caller.post({})
        assert (said.status, said.json["reason"], said.headers["retry-after"]) == (503, Reason.QUEUE_FULL, "5")
        assert said.headers["content-type"] == CONTENT_TYPE
        (tmp_path / "go").touch()
        assert {caller.ask("GET", f"/jobs/{job}", None, Prefer="wait=50").status for job in taken} == {200}
        assert caller.post({}, Prefer="wait=50").status == 200


def test_a_gateway_that_may_not_declare_its_stream_says_who_may(vhost_url: str) -> None:
    refused = ConsumerProcess(environment(vhost_url, gateway_port=0, declare="false"), command="gateway")
    assert refused.end() == os.EX_NOPERM
    assert "classifier.gateway" in refused.log[-1]
    assert "Traceback" not in "".join(refused.log)


def test_without_its_extra_the_command_says_what_to_install() -> None:
    code = "import sys; sys.modules['fastapi'] = None; from consumer.cli.main import main; main(['gateway'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment("amqp://localhost"),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == os.EX_CONFIG
    assert "pip install 'rabbitmq-classifier[http]'" in done.stderr
    assert "Traceback" not in done.stderr
