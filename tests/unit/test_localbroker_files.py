"""What the private node decides without a server: which program, which ports, which files."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from consumer.errors import ConsumerError
from consumer.local_broker import files, server_files
from consumer.local_broker import node as local_broker
from consumer.local_broker.node import LocalBrokerError, Node, RabbitMQMissing

NODE = Node(Path("/data/node"), "secret", 20001, 20002, 20003, 20004, pid=77)


def installed(home: Path, *, beside: str = "rabbitmq-env") -> Path:
    """A folder that looks like an installed RabbitMQ; its server."""
    sbin = home / "sbin"
    sbin.mkdir(parents=True)
    (sbin / beside).touch()
    server = sbin / "rabbitmq-server"
    server.touch(mode=0o755)
    return server


def test_the_newest_packaged_server_is_found_by_version_not_by_alphabet(tmp_path: Path) -> None:
    installed(tmp_path / "rabbitmq_server-3.9.8")
    newest = installed(tmp_path / "rabbitmq_server-3.10.8")
    assert local_broker.find_server({"PATH": ""}, tmp_path) == newest


def test_the_server_that_rabbitmq_home_names_comes_first(tmp_path: Path) -> None:
    installed(tmp_path / "lib" / "rabbitmq_server-4.0.1")
    named = installed(tmp_path / "mine")
    environ = {"PATH": "", "RABBITMQ_HOME": str(tmp_path / "mine")}
    assert local_broker.find_server(environ, tmp_path / "lib") == named


def test_a_server_in_the_path_is_found_through_its_links(tmp_path: Path) -> None:
    real = installed(tmp_path / "opt")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rabbitmq-server").symlink_to(real)
    assert local_broker.find_server({"PATH": str(tmp_path / "bin")}, tmp_path / "none") == real


def test_a_wrapper_that_changes_the_user_is_not_a_server_and_the_error_lists_the_choices(
    tmp_path: Path,
) -> None:
    wrapper = installed(tmp_path / "usr", beside="something-else")
    with pytest.raises(RabbitMQMissing) as caught:
        local_broker.find_server({"PATH": str(wrapper.parent)}, tmp_path / "none")
    for choice in ("apt-get install rabbitmq-server", "CONSUMER_AMQP_URL", "docker run "):
        assert choice in str(caught.value)


def test_every_listener_is_told_to_keep_to_the_loopback_address() -> None:
    environment = server_files.environment(NODE)
    assert environment["RABBITMQ_NODE_IP_ADDRESS"] == "127.0.0.1"
    assert environment["ERL_EPMD_ADDRESS"] == "127.0.0.1"
    assert "inet_dist_use_interface {127,0,0,1}" in environment["ERL_FLAGS"]
    assert "management.tcp.ip = 127.0.0.1\n" in server_files.render_config(NODE, {})


def test_nothing_of_the_callers_environment_reaches_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_NODENAME", "somebody-elses")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    environment = server_files.environment(NODE)
    assert environment["RABBITMQ_NODENAME"] == "classifier@localhost"
    assert "NOTIFY_SOCKET" not in environment


def test_configured_lines_never_replace_the_login_that_the_node_is_known_by() -> None:
    text = server_files.render_config(NODE, {"default_pass": "guest", "heartbeat": "5"})
    assert "default_pass = secret\n" in text
    assert "heartbeat = 5\n" in text
    assert "guest" not in text


def test_a_file_can_be_given_in_place_of_ours(tmp_path: Path) -> None:
    plugins = "[rabbitmq_management,rabbitmq_auth_mechanism_ssl]."
    node = files.choose(tmp_path, {})
    server_files.write_all(node, Path("/usr/sbin/rabbitmq-server"), {}, {"enabled_plugins": plugins})
    assert (tmp_path / "enabled_plugins").read_text() == plugins


def test_the_password_is_shown_by_describe_and_not_by_repr() -> None:
    assert NODE.amqp_url in NODE.describe()
    assert "secret" in NODE.describe()
    assert "secret" not in repr(NODE)


def test_the_stop_command_names_the_folder_unless_the_command_means_it_anyway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = replace(NODE, data_dir=tmp_path.resolve() / ".local-broker")
    assert here.stop_command == "consumer local-broker down"
    assert f"stop it:     {here.stop_command}" in here.describe().splitlines()

    other = replace(NODE, data_dir=Path("/data/a node"))
    assert other.stop_command == "consumer local-broker down --data '/data/a node'"
    elsewhere = replace(NODE, data_dir=Path("/data/.local-broker"))
    assert elsewhere.stop_command == "consumer local-broker down --data /data/.local-broker"


def test_the_errors_end_the_command_with_the_exit_code_for_an_unavailable_service() -> None:
    assert issubclass(RabbitMQMissing, LocalBrokerError)
    assert issubclass(LocalBrokerError, ConsumerError)
    assert RabbitMQMissing.exit_code == os.EX_UNAVAILABLE


def test_a_vhosts_name_is_quoted_in_its_url() -> None:
    assert NODE.vhost_url("a/b c") == "amqp://classifier:secret@127.0.0.1:20001/a%2Fb%20c"


def test_the_ports_of_the_last_start_are_kept_while_they_are_free(tmp_path: Path) -> None:
    first = files.choose(tmp_path, {})
    files.save(first)
    assert files.choose(tmp_path, {}) == first

    with socket.create_server(("127.0.0.1", first.amqp_port)):
        moved = files.choose(tmp_path, {})
    assert moved.amqp_port != first.amqp_port
    assert moved.password == first.password


def test_what_is_written_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    node = files.choose(tmp_path, {})
    server_files.write_all(node, Path("/usr/sbin/rabbitmq-server"), {}, {})
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {
        ".erlang.cookie": "0o600",
        ".gitignore": "0o600",
        "advanced.config": "0o600",
        "enabled_plugins": "0o600",
        "node.json": "0o600",
        "rabbitmq.conf": "0o600",
        "rabbitmqctl": "0o700",
    }


def test_a_folder_with_other_files_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(LocalBrokerError, match="empty or new folder"):
        local_broker.up(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_down_and_status_of_a_folder_that_never_was_do_nothing(tmp_path: Path) -> None:
    assert local_broker.down(tmp_path / "none") is False
    assert local_broker.status(tmp_path / "none") is None
    assert list(tmp_path.iterdir()) == []
