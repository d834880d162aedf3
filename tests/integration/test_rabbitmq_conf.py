"""RabbitMQ with the files of deploy/rabbitmq, users' passwords included: a job goes round in it."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.processes.consumer_process import consumer
from support.processes.shell_classifiers import script
from support.rabbitmq.management_api import rabbitmqctl
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S, wait_until

from consumer.local_broker import files
from consumer.local_broker import node as local_broker
from consumer.local_broker.node import Node
from consumer.rabbitmq.management import ManagementRefusedError, api

FILES = Path(__file__).parents[2] / "deploy" / "rabbitmq"
#: What a private node has ports and folders of its own for, or no room.
OWN = (
    "definitions.local.path",
    "disk_free_limit.absolute",
    "management.tcp.port",
    "prometheus.tcp.port",
    "log.console.level",
)


def lines(text: str) -> dict[str, str]:
    """Read rabbitmq.conf."""
    rows = (line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in rows}


#: Queues are counted each second instead of every five.
MORE = {
    "advanced.config": "[{rabbit, [{quorum_tick_interval, 1000}]}].\n",
    "enabled_plugins": "[rabbitmq_management,rabbitmq_prometheus].\n",
}
CONF = lines((FILES / "rabbitmq.conf").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that definitions are loaded from, as Compose mounts it."""
    made = tmp_path_factory.mktemp("definitions.d")
    (made / "10-definitions.json").write_text((FILES / "definitions.json").read_text())
    (made / "20-users.json").write_text((FILES / "laptop-users.json").read_text())
    return made


@pytest.fixture(scope="module")
def deployed(server: None, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:  # noqa: ARG001
    """A private node with rabbitmq.conf."""
    [metrics_port] = files.free_ports(1)
    kept = {key: value for key, value in CONF.items() if key not in OWN}
    config = {**kept, "definitions.local.path": str(folder), "prometheus.tcp.port": str(metrics_port)}
    config["prometheus.tcp.ip"] = "127.0.0.1"
    data = tmp_path_factory.mktemp("deployed")
    # The node's own user is not made, as users are loaded: the one that may all has this password there.
    known = {"password": "classifier"}
    try:
        node = local_broker.up(data, config=config, more=MORE, known=known)
        (data / "metrics.port").write_text(str(metrics_port))
        yield node
    finally:
        local_broker.down(data, timeout_s=0)


def url(node: Node, user: str) -> str:
    return f"amqp://{user}:{user}@127.0.0.1:{node.amqp_port}/classifier"


def test_a_job_goes_round_with_the_users_and_queues_that_it_has_loaded(deployed: Node, tmp_path: Path) -> None:
    command = script(tmp_path, "echo OUTPUT: 1")
    running = consumer(url(deployed, "consumer"), declare="false", command=command)
    with running, Producer(url(deployed, "producer")) as producer:
        reply_to = producer.reply_queue()
        producer.publish("classifier.jobs", b"{}", reply_to=reply_to)
        assert producer.take(reply_to).json["output"] == 1


def test_it_runs_with_what_the_file_says(deployed: Node) -> None:
    asked = "[element(2, application:get_env(rabbit, K)) || K <- [consumer_timeout, cluster_partition_handling]]."
    wanted = f"[{CONF['consumer_timeout']},{CONF['cluster_partition_handling']}]\n"
    assert rabbitmqctl(deployed, "eval", asked) == wanted


def test_the_user_of_keda_sees_ready_and_unacked_jobs_and_nothing_else(deployed: Node) -> None:
    asked = replace(deployed, user="scaler", password="scaler")  # noqa: S106 - for a laptop
    counted = {"messages", "messages_ready", "messages_unacknowledged"}
    wait_until(lambda: counted <= api(asked, "GET", "queues/classifier/classifier.jobs").keys(), "the counts")
    with pytest.raises(ManagementRefusedError):
        api(asked, "DELETE", "queues/classifier/classifier.results")


def test_prometheus_finds_the_nodes_metrics(deployed: Node) -> None:
    port = (deployed.data_dir / "metrics.port").read_text()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as page:
        assert b"rabbitmq_identity_info" in page.read()


def test_a_password_that_was_changed_since_outlives_a_restart(deployed: Node) -> None:
    rabbitmqctl(deployed, "change_password", "producer", "changed")
    rabbitmqctl(deployed, "stop_app")
    rabbitmqctl(deployed, "start_app")
    assert rabbitmqctl(deployed, "authenticate_user", "producer", "changed")
