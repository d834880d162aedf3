"""What probes hear from a running service, over HTTP and by command, in each state that it can be in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.processes.commands import BIN, environment
from support.processes.consumer_process import ConsumerProcess, consumer, gone_afterwards
from support.processes.health import Probe
from support.processes.shell_classifiers import HELD, script
from support.rabbitmq.producer import Producer
from support.rabbitmq.tcp_proxy import Proxy
from support.waiting import PATIENCE_S, wait_until

JOBS, RESULTS = "classifier.jobs", "classifier.results"
#: A module whose import lasts until the test says go.
SLOW = """
import pathlib, time
while not pathlib.Path({go!r}).exists():
    time.sleep(0.02)
def classify(job):
    return 1
"""


def test_ready_follows_the_connection_and_live_does_not(vhost_url: str, tmp_path: Path) -> None:
    port = int(vhost_url.rpartition(":")[2].partition("/")[0])
    with (
        Proxy.open(port) as proxy,
        consumer(proxy.url(vhost_url), command=script(tmp_path, *HELD), http_port=0) as it,
    ):
        probe = Probe.of(it)
        assert (probe.ask("live"), probe.ask("ready")) == ((200, "ok\n"), (200, "ok\n"))
        proxy.refuse()
        it.wait_for_event("connection_lost")
        status, page = probe.ask("ready")
        assert (probe.ask("live"), status) == ((200, "ok\n"), 503)
        assert page.startswith("no jobs reach this consumer: ")
        proxy.accept()
        it.wait_for_event("reconnected")
        assert probe.ask("ready") == (200, "ok\n")
        assert it.stop() == os.EX_OK


def test_while_the_classifier_loads_it_lives_and_is_not_ready(vhost_url: str, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW.format(go=str(tmp_path / "go")))
    with gone_afterwards(
        ConsumerProcess(environment(vhost_url, classifier="slow:classify", http_port=0), cwd=tmp_path)
    ) as running:
        probe = Probe.of(running)
        assert (probe.ask("live")[0], probe.ask("ready")) == (200, (503, "the classifier is being loaded\n"))
        (tmp_path / "go").touch()
        running.wait_for_event("ready")
        wait_until(lambda: probe.ask("ready")[0] == 200, "the first life to be taken note of")
        assert running.stop() == os.EX_OK


def test_while_it_drains_it_lives_and_is_not_ready(vhost_url: str, tmp_path: Path, producer: Producer) -> None:
    with consumer(vhost_url, command=script(tmp_path, *HELD), pool_size=1, http_port=0) as running:
        probe = Probe.of(running)
        producer.publish(JOBS, b"{}")
        running.wait_for_event("job_log", "begun")
        running.signal(signal.SIGTERM)
        running.wait_for_event("draining")
        assert (probe.ask("live")[0], probe.ask("ready")) == (200, (503, "stopping\n"))
        (tmp_path / "go").touch()
        assert running.end() == os.EX_OK
    with pytest.raises(urllib.error.URLError):
        probe.ask("live")


def test_a_classifier_that_no_longer_loads_is_told(vhost_url: str, tmp_path: Path, producer: Producer) -> None:
    """The fork server is killed, and cannot come again: jobs would reach nothing that runs them."""
    (tmp_path / "mine.py").write_text("def classify(job):\n    return 1\n")
    settings = {
        "classifier": "mine:classify",
        "pool_size": 1,
        "jobs_per_worker": 1,
        "max_attempts": 1,
        "http_port": 0,
    }
    with gone_afterwards(ConsumerProcess(environment(vhost_url, **settings), cwd=tmp_path)) as running:
        running.wait_for_event("ready")
        probe = Probe.of(running)
        (tmp_path / "mine.py").write_text("raise OSError\n")
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        producer.publish(JOBS, b"{}")
        producer.take(RESULTS)  # its worker may have outlived the fork server by a moment, and so it may succeed
        no_worker = (503, "no worker can be forked; the log has the reason\n")
        wait_until(lambda: probe.ask("ready") == no_worker, "the fork to fail")
        assert probe.ask("live")[0] == 200
        (tmp_path / "mine.py").write_text("def classify(job):\n    return 22\n")
        producer.publish(JOBS, b"{}")
        assert producer.take(RESULTS).json["output"] == 22
        assert probe.ask("ready")[0] == 200
        assert running.stop() == os.EX_OK


def test_a_service_that_hangs_does_not_answer(vhost_url: str, tmp_path: Path) -> None:
    with consumer(vhost_url, command=script(tmp_path, *HELD), http_port=0) as running:
        probe = Probe.of(running)
        running.signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            probe.ask("live", timeout_s=0.2)
        running.signal(signal.SIGCONT)
        assert probe.ask("live")[0] == 200
        assert running.stop() == os.EX_OK


def test_metrics_are_told_to_prometheus(vhost_url: str, tmp_path: Path, producer: Producer) -> None:
    (tmp_path / "go").touch()
    with consumer(vhost_url, command=script(tmp_path, *HELD), pool_size=3, http_port=0) as running:
        probe = Probe.of(running)
        producer.publish(JOBS, b"{}", timestamp=0)
        running.wait_for_event("job_settled", settlement="ack")
        status, text = probe.ask("metrics")
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        values = {sample.name: sample.value for sample in samples if not sample.labels}
        names = ("jobs_received_total", "jobs_acked_total", "consuming", "slots_size", "jobs_run_seconds_count")
        assert (status, [values[f"classifier_{name}"] for name in names]) == (200, [1, 1, 1, 3, 1])
        assert running.stop() == os.EX_OK


def health(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "consumer", "health", *arguments],
        env=environment("", **settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_the_command_asks_by_the_same_settings(vhost_url: str, tmp_path: Path) -> None:
    with consumer(vhost_url, command=script(tmp_path, *HELD), http_port=0) as running:
        port = Probe.of(running).port
        config = tmp_path / "service.toml"
        config.write_text(f"http_port = {port}\nhttp_host = '0.0.0.0'")
        for told in (
            health("ready", http_port=port),
            health("live", "--config", str(config)),
            health("--http-port", str(port)),
        ):
            assert (told.returncode, told.stdout, told.stderr) == (os.EX_OK, "ok\n", "")
        assert running.stop() == os.EX_OK
    gone = health("live", http_port=port)
    assert (gone.returncode, "no answer from 127.0.0.1" in gone.stdout) == (1, True)


def test_the_command_without_a_port_says_what_to_set() -> None:
    told = health("ready")
    assert told.returncode == os.EX_CONFIG
    assert "http_port is not set" in told.stderr


def test_a_taken_port_stops_the_start(vhost_url: str, tmp_path: Path) -> None:
    with consumer(vhost_url, command=script(tmp_path, *HELD), http_port=0) as running:
        settings = {"command": script(tmp_path, *HELD), "http_port": Probe.of(running).port}
        other = ConsumerProcess(environment(vhost_url, **settings))
        assert other.end() == os.EX_CONFIG
        assert "cannot listen on" in "".join(other.log)
        assert running.stop() == os.EX_OK


#: Says whose it is, twice: while another job's worker is forked, as every job has its own.
CHATTY = """
from classifier.contract import log
def classify(job):
    log(job["mine"])
    print("stray " + job["mine"], flush=True)
    return 1
"""


def test_in_json_each_record_is_about_the_job_that_it_names(
    vhost_url: str, tmp_path: Path, producer: Producer
) -> None:
    (tmp_path / "chatty.py").write_text(CHATTY)
    settings = {"classifier": "chatty:classify", "pool_size": 2, "jobs_per_worker": 1, "log_format": "json"}
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with gone_afterwards(
        ConsumerProcess(environment(vhost_url, **settings), cwd=tmp_path, log_level="DEBUG")
    ) as running:
        running.wait_for_event("ready")
        for n in range(20):
            body = json.dumps({"mine": f"m{n}", "model": f"model{n}"}).encode()
            producer.publish(JOBS, body, message_id=f"m{n}", headers={"traceparent": trace})
        for _ in range(20):
            assert producer.take(RESULTS).properties.headers["traceparent"] == trace
        assert running.stop() == os.EX_OK
    records = [line.fields for line in running.lines]
    said = [record for record in records if "job m" in record["message"] or "stray m" in record["message"]]
    assert len(said) == 4 * 20  # it starts, says two lines, and is settled
    for record in said:
        [name] = [word.strip(":") for word in record["message"].split() if word.startswith("m")][:1]
        about = {"job_id": name, "attempt": 1, "model": f"model{name[1:]}", "traceparent": trace}
        assert record.items() >= about.items()
        assert record["slot"] in (0, 1)
    others = [record for record in records if record not in said]
    assert not [record for record in others if "job_id" in record]
