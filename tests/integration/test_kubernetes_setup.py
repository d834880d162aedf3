"""The Job of deploy/kubernetes/setup does its work on a real RabbitMQ, also a second time."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
import yaml
from support.rabbitmq.definitions import DEFINITIONS, FILE, USERS, VHOST
from support.rabbitmq.management_api import delete_vhost

from consumer.local_broker.node import Node
from consumer.rabbitmq.management import api

MANIFEST = Path(__file__).parents[2] / "deploy/kubernetes/setup/definitions.yaml"


@pytest.fixture
def empty(node: Node) -> Iterator[Node]:
    """The node, as it is before and after."""
    yield node
    delete_vhost(node, VHOST)
    for user in USERS:
        api(node, "DELETE", f"users/{user}")


def run_job(node: Node, users: Path, passwords: dict[str, str]) -> None:
    """Run its script as the container would; without TLS, and with our paths for those that are mounted there."""
    job = yaml.safe_load(MANIFEST.read_text())
    [container] = job["spec"]["template"]["spec"]["containers"]
    [script] = container["args"]
    for mounted, ours in {
        "--cacert /etc/rabbitmq-ca/ca.crt": "",
        "/definitions/definitions.json": str(FILE),
        "/users/*": f"{users}/*",
    }.items():
        assert script.count(mounted) == 1
        script = script.replace(mounted, ours)
    variables = {
        "MANAGEMENT_URL": node.management_url.rstrip("/"),
        "ADMIN_USER": node.user,
        "ADMIN_PASSWORD": node.password,
        **{f"{user.upper()}_PASSWORD": password for user, password in passwords.items()},
    }
    done = subprocess.run(
        [*container["command"], script],
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout


def test_the_job_makes_the_queues_and_every_user_can_log_in_whenever_it_has_run(
    empty: Node, tmp_path: Path
) -> None:
    if shutil.which("curl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no curl")
    (tmp_path / "producer").write_text("produces")
    (tmp_path / "operator").write_text("operates")
    for number in (1, 2):
        passwords = {"consumer": f"consumes{number}", "gateway": f"passes{number}"}
        run_job(empty, tmp_path, passwords)
        for user, password in {**passwords, "producer": "produces", "operator": "operates"}.items():
            url = f"amqp://{user}:{password}@127.0.0.1:{empty.amqp_port}/{VHOST}"
            with pika.BlockingConnection(pika.URLParameters(url)):
                pass
    made = {queue["name"] for queue in api(empty, "GET", f"queues/{VHOST}")}
    assert made == {queue["name"] for queue in DEFINITIONS["queues"]}
    tags = {user["name"]: user["tags"] for user in api(empty, "GET", "users")}
    assert {user["name"]: user["tags"] for user in DEFINITIONS["users"]}.items() <= tags.items()
