"""TLS on a real node that wants a client certificate: what connects, and what each refusal says.

What RabbitMQ itself does not do on request, such as an expired certificate, is done by a listener of the test.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from support.async_tests import runs_async
from support.processes import forked
from support.processes.commands import environment
from support.processes.consumer_process import ConsumerProcess, consumer
from support.processes.shell_classifiers import script
from support.rabbitmq.management_api import rabbitmqctl
from support.rabbitmq.tcp_proxy import Proxy

from consumer.client import Client
from consumer.config.credentials import Credentials
from consumer.dead_letters.error_records import read_error_records
from consumer.errors import BrokerRefusedError, BrokerUnreachableError, ConfigurationError
from consumer.local_broker import node as local_broker
from consumer.local_broker.node import Node
from consumer.rabbitmq.connection import connection
from consumer.rabbitmq.management import api
from consumer.wire.topology import Topology

YESTERDAY = datetime.now(UTC) - timedelta(days=1)
PERMISSIONS = {"configure": ".*", "write": ".*", "read": ".*"}
TOPOLOGY = Topology("classifier", 3)
MAX_MESSAGE_BYTES = 100_000
PLUGINS = {"enabled_plugins": "[rabbitmq_management,rabbitmq_auth_mechanism_ssl].\n"}


def write(cert: trustme.LeafCert, path: Path) -> Path:
    """Certificate and key in one file."""
    path.unlink(missing_ok=True)
    cert.private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@dataclass(frozen=True)
class Authority:
    """A CA, and what it has signed."""

    ca: trustme.CA
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def client(self, name: str, **more: Any) -> Path:  # noqa: ANN401 - trustme's
        """A certificate for the user `name`."""
        return write(
            self.ca.issue_cert(f"{name}@example.org", common_name=name, **more), self.folder / f"{name}.pem"
        )


def authority(folder: Path) -> Authority:
    folder.mkdir()
    made = Authority(trustme.CA(), folder)
    made.ca.cert_pem.write_to_path(str(made.file))
    return made


@dataclass(frozen=True)
class Secured:
    """A node with a port for TLS that asks for a client certificate, and who has signed what."""

    node: Node
    port: int
    own: Authority
    foreign: Authority

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.own.file, self.own.folder / "consumer.pem")

    @property
    def by_password(self) -> str:
        return f"amqps://{self.node.user}:{self.node.password}@127.0.0.1:{self.port}"

    @property
    def by_certificate(self) -> str:
        return f"amqps://127.0.0.1:{self.port}?auth=EXTERNAL"


@pytest.fixture(scope="module")
def secured(server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:  # noqa: ARG001 - its skip
    """One node for this file, with the users `consumer` and `submitter`, who have no passwords."""
    folder = tmp_path_factory.mktemp("tls")
    own, foreign = authority(folder / "own"), authority(folder / "foreign")
    of_server = write(own.ca.issue_cert("127.0.0.1"), folder / "server.pem")
    own.client("consumer")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = {
        "listeners.ssl.1": f"127.0.0.1:{port}",
        "ssl_options.cacertfile": str(own.file),
        "ssl_options.certfile": str(of_server),
        "ssl_options.keyfile": str(of_server),
        "ssl_options.verify": "verify_peer",
        "ssl_options.fail_if_no_peer_cert": "true",
        "auth_mechanisms.1": "PLAIN",
        "auth_mechanisms.2": "EXTERNAL",
        "ssl_cert_login_from": "common_name",
        "max_message_size": str(MAX_MESSAGE_BYTES),
    }
    try:
        node = local_broker.up(folder / "node", config=config, more=PLUGINS)
        rabbitmqctl(node, "await_startup")  # the port for TLS is opened after the one that `up` waits for
        for user in ("consumer", "submitter"):
            api(node, "PUT", f"users/{user}", {"password_hash": "", "tags": ""})
            api(node, "PUT", f"permissions/%2F/{user}", PERMISSIONS)
        yield Secured(node, port, own, foreign)
    finally:
        local_broker.down(folder / "node", timeout_s=0)


async def opens(url: str, credentials: Credentials) -> str:
    """Open a connection and close it."""
    async with connection(url, "test", credentials) as opened:
        return type(opened).__name__


async def refusal(url: str, credentials: Credentials, *, error: type[Exception] = BrokerRefusedError) -> str:
    with pytest.raises(error) as caught:
        await opens(url, credentials)
    return str(caught.value)


def settings(secured: Secured) -> dict[str, object]:
    return {"amqp_ca_file": secured.own.file, "amqp_cert_file": secured.own.folder / "consumer.pem"}


@asynccontextmanager
async def listener(certificate: Path, target: int) -> AsyncIterator[int]:
    """Speak TLS with this certificate for a port that does not, and ask nobody for one."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("login", ["by_password", "by_certificate"])
def test_a_job_goes_round_over_tls(secured: Secured, tmp_path: Path, login: str) -> None:
    url: str = getattr(secured, login)
    variables = environment(
        url, **settings(secured), command=script(tmp_path, "echo OUTPUT: 7"), prefix=f"round-{login}"
    )
    running = ConsumerProcess(variables, log_level="DEBUG")
    try:
        running.wait_for_event("ready")
        done = submit({**variables, "CONSUMER_AMQP_CERT_FILE": str(secured.own.client("submitter"))})
    finally:
        code = running.stop()
    assert (done.returncode, code) == (os.EX_OK, os.EX_OK), done.stderr + "".join(running.log)
    assert json.loads(done.stdout)["output"] == 7
    assert secured.node.password not in done.stderr + "".join(running.log)


def submit(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return forked.run("consumer", "submit", "-", env=variables, stdin="{}")


def test_the_password_of_a_file_and_a_ca_are_enough_where_no_certificate_is_asked_for(
    secured: Secured, tmp_path: Path
) -> None:
    """And each reconnection reads the file again."""
    password = tmp_path / "password"

    @runs_async
    async def test() -> None:
        certificate = write(secured.own.ca.issue_cert("localhost"), tmp_path / "relay.pem")
        credentials = Credentials(ca_file=secured.own.file, password_file=password)
        async with listener(certificate, secured.node.amqp_port) as port:
            url = f"amqps://{secured.node.user}@localhost:{port}"
            password.write_text("not yet the right one")
            assert "refused the user or the password" in await refusal(url, credentials)
            password.write_text(f"{secured.node.password}\n")
            await opens(url, credentials)

    test()


def test_a_renewed_certificate_is_read_at_the_next_connection(secured: Secured, tmp_path: Path) -> None:
    own = secured.own.client("renewed")
    api(secured.node, "PUT", "users/renewed", {"password_hash": "", "tags": ""})
    api(secured.node, "PUT", "permissions/%2F/renewed", PERMISSIONS)
    with Proxy.open(secured.port) as proxy:
        url = f"amqps://127.0.0.1:{proxy.port}?auth=EXTERNAL"
        files = {**settings(secured), "amqp_cert_file": own}
        command = script(tmp_path, "echo OUTPUT: 7")
        with consumer(url, **files, command=command, prefix="renewed") as running:
            secured.own.client("renewed", not_after=YESTERDAY)
            proxy.cut()
            running.wait_for_event("reconnect_failed", "amqp_cert_file", error="BrokerRefusedError")
            own.unlink()
            running.wait_for_event("reconnect_failed", error="ConfigurationError")
            secured.own.client("renewed")
            running.wait_for_event("reconnected")
            assert running.stop() == os.EX_OK


@pytest.mark.parametrize(
    ("ca", "certificate", "url", "complaint", "remedy"),
    [
        ("foreign", "consumer", "by_password", "no trusted CA has signed", "set amqp_ca_file"),
        (None, "consumer", "by_password", "no trusted CA has signed", "set amqp_ca_file"),
        ("own", "nobody", "by_certificate", "refused the client certificate's user", "create one with the name"),
    ],
    ids=["another CA", "the system's CAs", "a certificate of no user"],
)
def test_what_either_side_refuses_is_told_with_its_remedy(  # noqa: PLR0913 - a table
    secured: Secured, *, ca: str | None, certificate: str, url: str, complaint: str, remedy: str
) -> None:
    credentials = Credentials(
        ca_file=getattr(secured, ca).file if ca else None,
        cert_file=secured.own.client(certificate),
    )

    @runs_async
    async def test() -> None:
        message = await refusal(getattr(secured, url), credentials)
        assert complaint in message
        assert remedy in message
        assert secured.node.password not in message

    test()


@pytest.mark.parametrize(
    ("signer", "remedy"),
    [
        (None, "set amqp_cert_file and amqp_key_file"),
        ("own", "check that amqp_cert_file is valid today"),
        ("foreign", "signed by a CA that RabbitMQ trusts"),
    ],
    ids=["none", "an expired one", "one of another CA"],
)
def test_a_client_certificate_that_rabbitmq_refuses_is_told_with_its_remedy(
    secured: Secured, signer: str | None, remedy: str
) -> None:
    """RabbitMQ's alert may be lost when it resets the connection behind it; then the hint has to do."""
    more = {"not_after": YESTERDAY} if signer == "own" else {}
    certificate = getattr(secured, signer).client("refused", **more) if signer else None
    url = secured.by_certificate if signer else secured.by_password

    @runs_async
    async def test() -> None:
        with pytest.raises((BrokerRefusedError, BrokerUnreachableError), match=remedy):
            await opens(url, Credentials(secured.own.file, certificate))

    test()


def test_another_hosts_certificate_is_refused(secured: Secured) -> None:
    @runs_async
    async def test() -> None:
        url = secured.by_password.replace("127.0.0.1", "localhost")
        message = await refusal(url, secured.credentials)
        assert "has a certificate for another host" in message
        assert "write the certificate's host in amqp_url" in message

    test()


def test_an_expired_certificate_of_rabbitmqs_is_refused(secured: Secured, tmp_path: Path) -> None:
    certificate = write(secured.own.ca.issue_cert("127.0.0.1", not_after=YESTERDAY), tmp_path / "expired.pem")

    @runs_async
    async def test() -> None:
        async with listener(certificate, secured.node.amqp_port) as port:
            message = await refusal(f"amqps://u:p@127.0.0.1:{port}", secured.credentials)
        assert "not valid today (certificate has expired); renew it there" in message

    test()


def test_tls_with_a_plain_port_and_the_reverse_are_told(secured: Secured) -> None:
    @runs_async
    async def test() -> None:
        plain = secured.by_password.replace(str(secured.port), str(secured.node.amqp_port))
        assert "does not use TLS on this port; in amqp_url, write its TLS port" in await refusal(
            plain, secured.credentials
        )
        url = secured.by_password.replace("amqps:", "amqp:")
        message = await refusal(url, Credentials(), error=BrokerUnreachableError)
        assert "A port for TLS needs amqps://" in message

    test()


def test_external_is_refused_where_rabbitmq_does_not_offer_it(
    node: Node, secured: Secured, tmp_path: Path
) -> None:
    """The node of the other tests has no such plugin."""
    certificate = write(secured.own.ca.issue_cert("127.0.0.1"), tmp_path / "relay.pem")

    @runs_async
    async def test() -> None:
        async with listener(certificate, node.amqp_port) as port:
            message = await refusal(f"amqps://127.0.0.1:{port}?auth=EXTERNAL", secured.credentials)
        assert "offers no login by certificate; enable its plugin rabbitmq_auth_mechanism_ssl" in message

    test()


def test_a_start_that_tls_stops_is_one_line_without_the_password(secured: Secured, tmp_path: Path) -> None:
    variables = environment(secured.by_password, command=script(tmp_path, "echo OUTPUT: 7"), log_format="text")
    ended = ConsumerProcess(variables)
    assert ended.end() == os.EX_NOPERM
    assert ended.log[-1].startswith("consumer: RabbitMQ at amqps://classifier:***@127.0.0.1")
    assert "set amqp_ca_file" in ended.log[-1]
    assert secured.node.password not in "".join(ended.log)


def test_a_file_that_is_missing_stops_the_start_before_the_classifier_is_loaded(secured: Secured) -> None:
    files = {**settings(secured), "amqp_cert_file": "/no/such.pem", "log_format": "text"}
    ended = ConsumerProcess(environment(secured.by_certificate, **files, classifier="no.such:function"))
    assert ended.end() == os.EX_CONFIG
    assert ended.log == ["consumer: amqp_cert_file '/no/such.pem' cannot be read: No such file or directory\n"]


def test_python_clients_and_readers_of_records_get_the_same(secured: Secured, tmp_path: Path) -> None:
    command = script(tmp_path, "echo ERROR: no")
    with consumer(secured.by_certificate, **settings(secured), command=command):

        @runs_async
        async def test() -> None:
            opening = Client.open(secured.by_certificate, queue=TOPOLOGY.jobs, credentials=secured.credentials)
            async with opening as client:
                assert (await client.request(b"{}")).status == "failed"
                too_large = b'"' + b"x" * MAX_MESSAGE_BYTES + b'"'
                with pytest.raises(ConfigurationError, match=r"refuses a job of this size .*send less"):
                    await client.request(too_large)
            [record] = await read_error_records(secured.by_certificate, TOPOLOGY, secured.credentials)
            assert record.message == "no"

        test()
