"""Starting and stopping the service on a real RabbitMQ: what it refuses, what it hands back, what it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pika.exceptions
import pytest
from support.processes.commands import BIN, environment
from support.processes.consumer_process import ConsumerProcess, consumer
from support.processes.shell_classifiers import script
from support.rabbitmq.management_api import Management
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S

from consumer.local_broker import node as local_broker

JOBS, RESULTS, DEAD = "classifier.jobs", "classifier.results", "classifier.dead"
#: Says that it runs, then waits until the test says go, by a file beside the script.
WAIT = 'echo "LOG: begun"; while [ ! -e "${0%/*}/go" ]; do sleep 0.05; done; echo "OUTPUT: 1"'


def run_to_its_end(url: str, **settings: object) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail."""
    return subprocess.run(
        [BIN / "consumer", "run"],
        env=environment(url, **settings),
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def once_there(management: Management, path: str) -> list[dict[str, Any]]:
    """What the console lists, which it learns about a second late and tells nobody."""
    give_up = time.monotonic() + PATIENCE_S
    while not (listed := management.get(path)) and time.monotonic() < give_up:
        time.sleep(0.1)
    return list(listed)


def left_behind(command_path: Path) -> list[str]:
    """The processes that run a script, by /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdecimal() else b""
        except OSError:  # it ended while we looked
            continue
        if str(command_path).encode() in words:
            found.append(entry.name)
    return found


def test_sigterm_lets_running_jobs_finish_and_leaves_the_rest_in_the_queue(
    vhost_url: str, tmp_path: Path, producer: Producer
) -> None:
    command = script(tmp_path, WAIT)
    with consumer(vhost_url, command=command, pool_size=2, job_dir=tmp_path / "jobs") as running:
        for number in range(5):
            producer.publish(JOBS, b"{}", message_id=f"m{number}")
        running.wait_for_event("job_log", "begun")
        running.wait_for_event("job_log", "begun")
        running.signal(signal.SIGTERM)
        assert "m0" in running.wait_for_event("draining").text
        (tmp_path / "go").touch()
        assert running.end() == os.EX_OK
    assert {producer.take(RESULTS).json["job_id"] for _ in range(2)} == {"m0", "m1"}
    assert (producer.depth(RESULTS), producer.depth(JOBS), producer.depth(DEAD)) == (0, 3, 0)
    assert list((tmp_path / "jobs").iterdir()) == []
    assert left_behind(tmp_path / "classify.sh") == []


def test_a_second_signal_hands_running_jobs_back_at_once(
    vhost_url: str, tmp_path: Path, producer: Producer
) -> None:
    with consumer(vhost_url, command=script(tmp_path, WAIT), pool_size=1) as running:
        producer.publish(JOBS, b"{}")
        running.wait_for_event("job_log", "begun")
        running.signal(signal.SIGTERM)
        running.wait_for_event("draining")
        running.signal(signal.SIGINT)
        assert running.end() == os.EX_OK
    assert (producer.depth(JOBS), producer.depth(RESULTS), producer.depth(DEAD)) == (1, 0, 0)
    assert left_behind(tmp_path / "classify.sh") == []


def test_what_does_not_finish_within_the_grace_is_handed_back(
    vhost_url: str, tmp_path: Path, producer: Producer
) -> None:
    with consumer(vhost_url, command=script(tmp_path, WAIT), pool_size=1, drain_grace_s=0.1) as running:
        producer.publish(JOBS, b"{}")
        running.wait_for_event("job_log", "begun")
        assert running.stop() == os.EX_OK
    assert producer.depth(JOBS) == 1


def test_an_idle_consumer_stops_at_once_without_a_trace(vhost_url: str, tmp_path: Path) -> None:
    with consumer(vhost_url, command=script(tmp_path, WAIT), job_dir=tmp_path / "jobs") as running:
        assert running.stop() == os.EX_OK
    assert list((tmp_path / "jobs").iterdir()) == []


def test_after_a_sigkill_the_job_comes_again_and_the_next_start_sweeps(
    vhost_url: str, tmp_path: Path, producer: Producer
) -> None:
    settings = {"command": script(tmp_path, WAIT), "pool_size": 1, "job_dir": tmp_path / "jobs"}
    with consumer(vhost_url, **settings) as running:
        producer.publish(JOBS, b"{}", message_id="m1")
        running.wait_for_event("job_log", "begun")
        [left] = (tmp_path / "jobs").iterdir()
        running.signal(signal.SIGKILL)
        running.end()
    with consumer(vhost_url, **settings) as running:
        assert not left.exists()
        running.wait_for_event("job_log", "begun")
        (tmp_path / "go").touch()
        assert producer.take(RESULTS).json["job_id"] == "m1"
        assert running.stop() == os.EX_OK
    assert producer.depth(JOBS) == 0


@pytest.mark.parametrize(
    ("change", "code", "remedy"),
    [
        (("classifier:", "nobody:"), os.EX_NOPERM, "refused the user or the password"),
        (("/test-", "/no-"), os.EX_NOPERM, "check that the virtual host"),
        ((":port", ":9"), os.EX_UNAVAILABLE, "is it running"),
    ],
    ids=["user", "vhost", "port"],
)
def test_a_wrong_url_ends_the_start_with_its_part_and_without_the_password(
    vhost_url: str, tmp_path: Path, change: tuple[str, str], code: int, remedy: str
) -> None:
    parts = urlsplit(vhost_url)
    old, new = change
    url = vhost_url.replace(old.replace("port", str(parts.port)), new)
    ended = run_to_its_end(url, command=script(tmp_path, WAIT))
    assert ended.returncode == code
    assert remedy in ended.stderr
    assert str(parts.password) not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_jobs_queue_without_a_dead_letter_exchange_is_refused_at_the_start(
    vhost_url: str, tmp_path: Path, producer: Producer
) -> None:
    producer.channel.queue_declare(JOBS, durable=True, arguments={"x-queue-type": "quorum"})
    ended = run_to_its_end(vhost_url, command=script(tmp_path, WAIT))
    assert ended.returncode == os.EX_NOPERM
    assert "x-dead-letter" in ended.stderr or "x-delivery-limit" in ended.stderr
    assert "choose another `prefix`" in ended.stderr


def test_without_declare_a_missing_dead_letter_exchange_is_refused_at_the_start(
    vhost_url: str, tmp_path: Path, producer: Producer
) -> None:
    command = script(tmp_path, WAIT)
    with consumer(vhost_url, command=command) as running:
        running.stop()
    with consumer(vhost_url, command=command, declare="false") as running:
        assert running.stop() == os.EX_OK
    producer.channel.exchange_delete("classifier.dlx")
    ended = run_to_its_end(vhost_url, command=command, declare="false")
    assert ended.returncode == os.EX_NOPERM
    assert "classifier.dlx" in ended.stderr
    assert "RabbitMQ deletes the jobs that fail" in ended.stderr


def test_a_user_who_may_not_read_the_jobs_is_told_so_at_the_start(
    vhost_url: str, tmp_path: Path, management: Management
) -> None:
    command = script(tmp_path, WAIT)
    with consumer(vhost_url, command=command) as running:
        running.stop()
    user = f"blind-{management.vhost}"
    local_broker.api(management.node, "PUT", f"users/{user}", {"password": "secret", "tags": ""})
    nothing_to_read = {"configure": ".*", "write": ".*", "read": "^$"}
    local_broker.api(management.node, "PUT", f"permissions/{management.vhost}/{user}", nothing_to_read)
    parts = urlsplit(vhost_url)
    url = f"amqp://{user}:secret@127.0.0.1:{parts.port}{parts.path}"
    ended = run_to_its_end(url, command=command, declare="false")
    assert ended.returncode == os.EX_NOPERM
    assert "cannot consume classifier.jobs: ACCESS_REFUSED" in ended.stderr


def test_without_declare_nothing_is_created(vhost_url: str, tmp_path: Path, producer: Producer) -> None:
    ended = run_to_its_end(vhost_url, command=script(tmp_path, WAIT), declare="false")
    assert ended.returncode == os.EX_NOPERM
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="404"):
        producer.depth(JOBS)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"command": '["/no/such/program"]'}, "no program '/no/such/program'"),
        ({"pool_size": "many"}, "pool_size = 'many' from CONSUMER_POOL_SIZE"),
        ({"job_dir": "/proc/nowhere"}, "job_dir '/proc/nowhere' cannot be used"),
    ],
    ids=["command", "number", "folder"],
)
def test_what_cannot_work_stops_the_start_before_a_job_is_taken(
    vhost_url: str, producer: Producer, settings: dict[str, str], complaint: str
) -> None:
    ended = run_to_its_end(vhost_url, **settings)
    assert (ended.returncode, complaint in ended.stderr) == (os.EX_CONFIG, True)
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="404"):
        producer.depth(JOBS)


def test_the_console_tells_which_consumer_it_is(vhost_url: str, tmp_path: Path, management: Management) -> None:
    with consumer(vhost_url, command=script(tmp_path, WAIT), pool_size=3) as running:
        [entry] = once_there(management, "consumers/{vhost}")
        names = {
            connection["client_properties"]["connection_name"]
            for connection in once_there(management, "vhosts/{vhost}/connections")
        }
        pid = str(running.process.pid)
    assert (entry["prefetch_count"], entry["queue"]["name"], entry["ack_required"]) == (3, JOBS, True)
    assert entry["consumer_tag"].startswith("classifier.")
    assert pid in entry["consumer_tag"]
    assert {name.split()[1] for name in names if pid in name} == {"read", "write"}


def test_a_consumer_leaves_nothing_when_it_is_told_to_stop_while_it_starts(vhost_url: str, tmp_path: Path) -> None:
    running = ConsumerProcess(
        environment(vhost_url, command=script(tmp_path, WAIT), job_dir=tmp_path / "jobs"), is_forked=False
    )
    while not (tmp_path / "jobs").exists() and running.process.poll() is None:
        os.sched_yield()
    assert running.stop() == os.EX_OK
    assert list((tmp_path / "jobs").iterdir()) == []
