"""The private node's life: up, down, and what a killed predecessor leaves. A start takes about five seconds."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pika
import pytest
from support.processes import forked
from support.processes.commands import environment
from support.processes.consumer_process import ConsumerProcess, gone_afterwards
from support.rabbitmq.management_api import Management, create_vhost, delete_vhost, rabbitmqctl

from consumer.local_broker import files, processes, sharing
from consumer.local_broker import node as local_broker
from consumer.local_broker.node import LocalBrokerError, Node
from consumer.local_broker.sharing import shared
from consumer.rabbitmq.management import ManagementRefusedError, api

UP = "import sys, pathlib; from consumer.local_broker import node; node.up(pathlib.Path(sys.argv[1]))"


@pytest.fixture
def data_dir(server: None, tmp_path: Path) -> Iterator[Path]:  # noqa: ARG001 - wanted for its skip
    """A folder for a node of the test's own; whatever runs there is gone after the test."""
    folder = tmp_path / "a node"
    yield folder
    local_broker.down(folder, timeout_s=0)
    assert processes.found(folder) == {}


def publish(url: str, body: bytes) -> None:
    """Leave a persistent message in a durable queue, confirmed by RabbitMQ."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True)
        channel.basic_publish("", "kept", body, pika.BasicProperties(delivery_mode=2))


def fetch(url: str) -> bytes | None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        body: bytes | None = connection.channel().basic_get("kept", auto_ack=True)[2]
        return body


def listening_addresses(pids: set[int]) -> set[str]:
    """Local addresses, as /proc/net writes them, on which one of these processes listens."""
    links = set()
    for descriptor in [fd for pid in pids for fd in Path(f"/proc/{pid}/fd").iterdir()]:
        with suppress(FileNotFoundError):  # closed while we look; a listener stays open
            links.add(str(descriptor.readlink()))
    inodes = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}
    rows = [row.split() for table in ("tcp", "tcp6") for row in Path("/proc/net", table).read_text().splitlines()]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


def test_the_node_takes_and_gives_a_message_in_a_vhost_of_the_tests_own(
    vhost_url: str, management: Management
) -> None:
    publish(vhost_url, b"hello")
    assert [queue["name"] for queue in management.get("queues/{vhost}")] == ["kept"]
    assert fetch(vhost_url) == b"hello"


def test_a_deleted_vhost_refuses_and_the_refusal_carries_its_status(node: Node) -> None:
    create_vhost(node, "short/lived")
    delete_vhost(node, "short/lived")
    with pytest.raises(ManagementRefusedError) as caught:
        api(node, "GET", "vhosts/short%2Flived")
    assert caught.value.status == 404


def epmd_of(folder: Path) -> int:
    """The process of the node's port mapper."""
    [pid] = [pid for pid, program in processes.found(folder).items() if program == "epmd"]
    return pid


def test_nothing_listens_beyond_the_loopback_address(node: Node) -> None:
    addresses = listening_addresses({node.pid, epmd_of(node.data_dir)})
    assert addresses <= {"0100007F", "0" * 24 + "01000000"}
    assert "0100007F" in addresses


def test_rabbitmqctl_reaches_the_node(node: Node) -> None:
    assert "classifier" in rabbitmqctl(node, "list_users")


def test_up_again_in_the_same_folder_returns_the_node_that_runs(node: Node) -> None:
    assert local_broker.up(node.data_dir) == node
    assert local_broker.status(node.data_dir) == node


def test_a_node_comes_back_with_its_messages_after_down_and_after_sigkill(data_dir: Path) -> None:
    lines: list[str] = []
    with ThreadPoolExecutor(2) as threads:
        first, same = threads.map(lambda _: local_broker.up(data_dir, report=lines.append), range(2))
    assert first == same
    assert sum("ready after" in line for line in lines) == 1
    publish(first.amqp_url, b"before down")

    assert local_broker.down(data_dir) is True
    assert processes.found(data_dir) == {}
    assert local_broker.down(data_dir) is False
    assert local_broker.status(data_dir) is None

    second = local_broker.up(data_dir)
    assert second.amqp_url == first.amqp_url
    assert fetch(second.amqp_url) == b"before down"
    publish(second.amqp_url, b"before SIGKILL")

    # epmd stays, and the state file names a dead process.
    epmd = epmd_of(data_dir)
    os.kill(second.pid, signal.SIGKILL)
    os.waitpid(second.pid, 0)
    assert epmd_of(data_dir) == epmd
    third = local_broker.up(data_dir, report=lines.append)
    assert any("previous node" in line for line in lines)
    assert epmd_of(data_dir) != epmd
    assert fetch(third.amqp_url) == b"before SIGKILL"


def test_a_start_that_is_killed_leaves_a_node_that_the_next_start_takes_over(data_dir: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", UP, data_dir]) as killed:
        while not ((begun := files.load(data_dir)) and begun.pid):
            assert killed.poll() is None
        killed.kill()
    lines: list[str] = []
    assert local_broker.up(data_dir, report=lines.append) == begun
    assert lines == [f"found a RabbitMQ node in {data_dir}"]


def test_a_node_that_commands_have_started_ends_with_the_last_of_them(data_dir: Path) -> None:
    with shared(data_dir, print) as first:
        with shared(data_dir, print) as second:
            assert second.pid == first.pid
        assert local_broker.status(data_dir)
    assert local_broker.status(data_dir) is None


def test_a_node_that_a_command_uses_goes_on_after_somebody_has_asked_for_it(node: Node) -> None:
    with shared(node.data_dir, print):
        (node.data_dir / sharing.MARK).touch()  # as if that command had started it
        up = forked.run("consumer", "local-broker", "up", "--data", node.data_dir, env=environment(""))
        assert up.returncode == os.EX_OK, up.stderr
    assert local_broker.status(node.data_dir)


def test_a_process_number_that_belongs_to_another_program_now_is_not_touched(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "lock").touch()
    node = files.choose(data_dir, {})
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        files.save(replace(node, pid=bystander.pid))
        assert local_broker.status(data_dir) is None
        assert local_broker.down(data_dir) is False
        assert bystander.poll() is None
        bystander.communicate(b"\n")
    assert bystander.returncode == 0


def test_a_server_that_ends_while_it_starts_is_told_with_what_its_log_says(data_dir: Path) -> None:
    with pytest.raises(LocalBrokerError, match=re.compile(r"ended while it started.*no_such_setting", re.DOTALL)):
        local_broker.up(data_dir, config={"no_such_setting": "1"})
    assert processes.found(data_dir) == {}


def test_a_server_that_is_not_ready_in_time_is_ended(data_dir: Path) -> None:
    with pytest.raises(LocalBrokerError, match="did not become ready in time"):
        local_broker.up(data_dir, timeout_s=0)
    assert processes.found(data_dir) == {}
    node = files.load(data_dir)
    assert node
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", node.epmd_port), timeout=5)


def test_a_setting_that_is_refused_is_a_record_where_the_log_is_json(tmp_path: Path) -> None:
    """Whoever reads the log by a program reads this line, too; a file may choose the format as well."""
    (tmp_path / "consumer.toml").write_text('log_format = "json"\npool_size = -1\n')
    variables = {**environment("amqp://localhost"), "CONSUMER_LOG_FORMAT": "", "CONSUMER_CONFIG": "consumer.toml"}
    running = ConsumerProcess(variables, cwd=tmp_path)
    assert running.end() == os.EX_CONFIG
    (line,) = running.events("failed")
    assert line.fields["message"].startswith("pool_size = -1 in consumer.toml")
    assert running.lines == [line]


def test_its_url_is_printed_alone_and_its_password_is_in_no_log(data_dir: Path) -> None:
    folder = data_dir.with_name(".local-broker")
    node = local_broker.up(folder)
    try:
        printed = forked.run("consumer", "local-broker", "url", cwd=folder.parent)
        assert (printed.stdout, printed.stderr) == (f"{node.amqp_url}\n", "")
        running = ConsumerProcess(environment("", command='["true"]'), cwd=folder.parent)
        with gone_afterwards(running):
            running.wait_for_event("ready")
            assert running.stop() == 0
        assert running.events("private_node_ready", "classifier:***@")
        assert all(line.fields for line in running.lines)
        assert node.password not in "".join(running.log)
    finally:
        local_broker.down(folder, timeout_s=0)


def test_without_a_node_there_is_no_url(tmp_path: Path) -> None:
    done = forked.run("consumer", "local-broker", "url", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "`consumer local-broker up` starts one" in done.stderr
