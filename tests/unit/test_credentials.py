"""The files beside the AMQP URL: what fits together, what is read of them, and that no password gets out."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from consumer.config.credentials import Credentials
from consumer.errors import ConfigurationError

CA, CERT, KEY, PASSWORD = (Path(f"/{name}") for name in ("ca.pem", "cert.pem", "key.pem", "password"))
SECRET = "hunter2"  # noqa: S105 - it is what must not be found


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("amqp://u:p@h", Credentials()),
        ("amqp://h", Credentials()),
        ("amqps://u:p@h", Credentials()),
        ("amqps://u:p@h", Credentials(CA)),
        ("amqps://u:p@h?auth=plain", Credentials(CA, CERT, KEY)),
        ("amqps://h/v?auth=EXTERNAL", Credentials(CA, CERT)),
        ("amqps://h/v?heartbeat=5&auth=external", Credentials(CA, CERT, KEY)),
        ("amqp://u@h", Credentials(password_file=PASSWORD)),
    ],
)
def test_what_fits_together_is_taken(url: str, credentials: Credentials) -> None:
    assert credentials.complaint(url) is None


@pytest.mark.parametrize(
    ("url", "credentials", "remedy"),
    [
        ("amqp://u:p@h", Credentials(CA), "amqp_ca_file is set, but .* write amqps://"),
        ("amqp://u:p@h", Credentials(cert_file=CERT), "amqp_cert_file is set, but .* write amqps://"),
        ("amqps://u:p@h", Credentials(key_file=KEY), "without amqp_cert_file; set both"),
        ("amqps://h?auth=EXTERNAL", Credentials(CA), "set amqp_cert_file"),
        ("amqp://h?auth=EXTERNAL", Credentials(), "write amqps://"),
        ("amqps://u@h?auth=EXTERNAL", Credentials(CA, CERT), "remove user and password"),
        ("amqps://:p@h?auth=EXTERNAL", Credentials(CA, CERT), "remove user and password"),
        ("amqps://h?auth=EXTERNAL", Credentials(CA, CERT, KEY, PASSWORD), "remove amqp_password_file"),
        ("amqps://h", Credentials(CA, CERT), "names no user; add [?]auth=EXTERNAL"),
        ("amqps://u:p@h?auth=GSSAPI", Credentials(CA), "auth in amqp_url must be EXTERNAL"),
        ("amqp://h", Credentials(password_file=PASSWORD), "names no user; write amqp://user@host"),
        ("amqp://u:p@h", Credentials(password_file=PASSWORD), "remove one of them"),
        ("amqps://u:p@h?no_verify_ssl=false", Credentials(CA), "RabbitMQ's certificate is always verified"),
        ("amqps://u:p@h?cafile=/ca.pem", Credentials(), "remove cafile from amqp_url"),
    ],
)
def test_what_would_be_ignored_is_refused_with_its_remedy(url: str, credentials: Credentials, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        credentials.complete(url)


@pytest.mark.parametrize(
    ("content", "quoted"),
    [
        ("hunter2", "hunter2"),
        ("hunter2\n", "hunter2"),
        ("a b\r\nsecond line", "a%20b"),
        ("@:/?#%é", "%40%3A%2F%3F%23%25%C3%A9"),
    ],
)
def test_the_password_is_the_files_first_line_and_may_hold_anything(
    tmp_path: Path, content: str, quoted: str
) -> None:
    file = tmp_path / "password"
    file.write_bytes(content.encode())
    url = Credentials(password_file=file).complete("amqp://me%40home@[::1]:5672/v?heartbeat=5")
    assert url == f"amqp://me%40home:{quoted}@[::1]:5672/v?heartbeat=5"


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "No such file"), (b"\nhunter2", "empty line"), (b"hunter2\xff", "not UTF-8")]
)
def test_a_file_without_a_password_is_told_by_its_name_alone(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        Credentials(password_file=file).complete("amqp://u@h")
    assert str(file) in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA's certificate, a certificate with its key, another's key, and a key with a passphrase."""
    folder, ca = tmp_path_factory.mktemp("tls"), trustme.CA()
    mine, other = ca.issue_cert("me@example.org"), ca.issue_cert("other@example.org")
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    mine.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    mine.private_key_pem.write_to_path(str(folder / "key.pem"))
    other.private_key_pem.write_to_path(str(folder / "other.pem"))
    (folder / "text.pem").write_text("no certificate\n")
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(SECRET.encode()),
    )
    (folder / "locked.pem").write_bytes(locked)
    return folder


def test_a_context_verifies_certificate_and_host_and_speaks_no_old_tls(folder: Path) -> None:
    context = Credentials(folder / "ca.pem", folder / "cert.pem", folder / "key.pem").context("amqps://u:p@h")
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1


def test_without_encryption_there_is_no_context() -> None:
    assert Credentials().context("amqp://u:p@h") is None


@pytest.mark.parametrize(
    ("ca", "cert", "key", "complaint"),
    [
        ("none.pem", "cert.pem", "key.pem", "amqp_ca_file .* cannot be read: No such file"),
        ("text.pem", "cert.pem", "key.pem", "amqp_ca_file .* holds no certificate"),
        ("ca.pem", "none.pem", "key.pem", "amqp_cert_file .* cannot be read: No such file"),
        ("ca.pem", "cert.pem", "none.pem", "amqp_key_file .* cannot be read: No such file"),
        ("ca.pem", "cert.pem", "other.pem", "its private key .KEY_VALUES_MISMATCH"),
        ("ca.pem", "text.pem", "key.pem", "must hold a certificate"),
        ("ca.pem", "cert.pem", "locked.pem", "has a passphrase; store it without one"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_told(
    folder: Path, ca: str, cert: str, key: str, complaint: str
) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        Credentials(folder / ca, folder / cert, folder / key).context("amqps://u:p@h")
