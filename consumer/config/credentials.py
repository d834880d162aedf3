"""Reads the files for the login to RabbitMQ and for TLS. The settings name these files.

The files are read at each connection attempt and never kept, so that the next connection uses a renewed
certificate or password. A combination is refused if a part of it would be ignored: TLS files with an unencrypted
URL, EXTERNAL without a certificate. No message quotes a URL or a password.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, parse_qs, quote, urlsplit, urlunsplit

from consumer.errors import ConfigurationError

#: Parameters of a URL from which aiormq makes its own TLS context. Even `no_verify_ssl=false` disables
#: verification.
_IGNORED_IN_URL = ("cafile", "capath", "cadata", "certfile", "keyfile", "no_verify_ssl")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Paths of the files; None: no such file. Contains no secret."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    password_file: Path | None = None

    def complaint(self, url: str) -> str | None:
        """Return which file or parameter does not fit a valid URL, with the remedy; None if all fit."""
        parts = urlsplit(url)
        query = parse_qs(parts.query, keep_blank_values=True)
        if ignored := [name for name in _IGNORED_IN_URL if name in query]:
            return (
                f"remove {ignored[0]} from amqp_url: amqp_ca_file, amqp_cert_file and amqp_key_file name the "
                "files of TLS, and RabbitMQ's certificate is always verified"
            )
        return self._tls_complaint(parts) or self._login_complaint(parts, query.get("auth", ["PLAIN"])[0].upper())

    def _tls_complaint(self, parts: SplitResult) -> str | None:
        if self.key_file and not self.cert_file:
            return "amqp_key_file is set without amqp_cert_file; set both, or none"
        if parts.scheme == "amqp" and (self.ca_file or self.cert_file):
            unused = "amqp_ca_file" if self.ca_file else "amqp_cert_file"
            return (
                f"{unused} is set, but an amqp:// URL is not encrypted and would ignore it; "
                "write amqps:// in amqp_url (RabbitMQ's port for it is 5671)"
            )
        return None

    def _login_complaint(self, parts: SplitResult, mechanism: str) -> str | None:
        if mechanism == "EXTERNAL":
            return self._external_complaint(parts)
        if mechanism != "PLAIN":
            return "auth in amqp_url must be EXTERNAL, or be left out to log in with user and password"
        if self.password_file:
            return _password_file_complaint(parts)
        if self.cert_file and not parts.username:  # the library would try guest
            return (
                "amqp_url names no user; add ?auth=EXTERNAL to log in with the certificate of amqp_cert_file, "
                "or name a user"
            )
        return None

    def _external_complaint(self, parts: SplitResult) -> str | None:
        if not self.cert_file:
            return "auth=EXTERNAL logs in with a certificate; set amqp_cert_file, and write amqps:// in amqp_url"
        if parts.username is not None or parts.password is not None:
            return (
                "auth=EXTERNAL takes the user from the client certificate; remove user and password from amqp_url"
            )
        return "auth=EXTERNAL needs no password; remove amqp_password_file" if self.password_file else None

    def complete(self, url: str) -> str:
        """Add the password of the file to a URL.

        Raises:
            ConfigurationError: the files do not fit the URL, or the file contains no password.
        """
        if complaint := self.complaint(url):
            raise ConfigurationError(complaint)
        if self.password_file is None:
            return url
        parts = urlsplit(url)
        user, _, host = parts.netloc.rpartition("@")
        password = quote(_read_password(self.password_file), safe="")
        return urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))

    def context(self, url: str) -> ssl.SSLContext | None:
        """Make the TLS context for an amqps:// URL; None for amqp://.

        Raises:
            ConfigurationError: a file cannot be read, or has other content.
        """
        if urlsplit(url).scheme != "amqps":
            return None
        context = self._trusting()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file:
            self._add_certificate(context, self.cert_file)
        return context

    def check(self, url: str) -> None:
        """Read the files once, so that an invalid one stops the start before a model is loaded.

        Raises:
            ConfigurationError: as `complete` and `context`.
        """
        self.complete(url)
        self.context(url)

    def _trusting(self) -> ssl.SSLContext:
        """Make a context that verifies certificate and host name, with the system's CAs unless a file is set."""
        if self.ca_file is None:
            return ssl.create_default_context()
        _see_readable("amqp_ca_file", self.ca_file)
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"amqp_ca_file {str(self.ca_file)!r} holds no certificate in PEM form ({error.reason})"
            ) from None

    def _add_certificate(self, context: ssl.SSLContext, cert_file: Path) -> None:
        _see_readable("amqp_cert_file", cert_file)
        if self.key_file:
            _see_readable("amqp_key_file", self.key_file)
        try:
            context.load_cert_chain(cert_file, self.key_file, password=_refuse_passphrase)
        except ssl.SSLError as error:
            raise ConfigurationError(
                f"amqp_cert_file {str(cert_file)!r} must hold a certificate in PEM form, and with it or in "
                f"amqp_key_file its private key ({error.reason or 'no such part found'})"
            ) from None


def _password_file_complaint(parts: SplitResult) -> str | None:
    if not parts.username:
        return "amqp_password_file is set, but amqp_url names no user; write amqp://user@host"
    if parts.password is not None:
        return "there is a password in amqp_url and amqp_password_file is set; remove one of them"
    return None


def _refuse_passphrase() -> NoReturn:
    """Refuse a passphrase: OpenSSL would ask for it at a terminal, which a service does not have."""
    raise ConfigurationError(
        "the private key in amqp_key_file (or amqp_cert_file) has a passphrase; "
        "store it without one, readable by this service's user only"
    )


def _see_readable(setting: str, path: Path) -> None:
    """Check that a file can be opened, because OpenSSL's error does not name the file."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigurationError(f"{setting} {str(path)!r} cannot be read: {error.strerror}") from None


def _read_password(path: Path) -> str:
    """Read the first line: most editors end a file with a line break, which is not part of the password."""
    try:
        password = path.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except OSError as error:
        raise ConfigurationError(f"amqp_password_file {str(path)!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:  # its message would quote the bytes
        raise ConfigurationError(f"amqp_password_file {str(path)!r} is not UTF-8 text") from None
    if not password:
        raise ConfigurationError(
            f"amqp_password_file {str(path)!r} begins with an empty line; write the password there"
        )
    return password
