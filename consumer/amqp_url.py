"""An AMQP URL as text: a list of them taken apart, one checked, its password hidden; the management API's, too.

Pure, and no message here quotes a URL: any part of one that is malformed may be a piece of the password.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

UNQUOTED = "cannot be taken apart; in a password write / ? # [ ] @ : as %2F %3F %23 %5B %5D %40 %3A"


def split_urls(urls: str) -> tuple[str, ...]:
    """Take the list apart. A comma may stand in a password, but not before the beginning of the next URL."""
    return tuple(re.split(r"[\s,]+(?=amqps?://)", urls.strip()))


def check_url(url: str) -> None:
    """Raise ValueError, without a word of the URL, if no connection can be made of it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its message would quote a piece of the password
        raise ValueError(UNQUOTED) from None
    if "@" in parts.path + parts.query or parts.fragment:
        raise ValueError(UNQUOTED)
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname or re.search(r"\s", url):
        raise ValueError("not an AMQP URL")


def check_http_url(url: str) -> None:
    """Raise ValueError as `check_url`, for the URL of the management API, which has its login the same way."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(UNQUOTED) from None
    if "@" in parts.path or parts.query or parts.fragment:
        raise ValueError(UNQUOTED)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", url):
        raise ValueError("not an HTTP URL")


def redacted(url: str) -> str:
    """Return the URL with its password hidden, for logs and messages."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))


def vhost_of(url: str) -> str:
    """Return the name of the virtual host that the URL means."""
    return unquote(urlsplit(url).path.removeprefix("/")) or "/"


def holds_password(urls: str) -> bool:
    """Whether there is a password in any URL of a list; what cannot be taken apart may well be one."""
    try:
        return any(urlsplit(url).password is not None for url in split_urls(urls))
    except ValueError:
        return True


def logs_in_by_certificate(url: str) -> bool:
    """Whether the URL asks for SASL EXTERNAL."""
    return parse_qs(urlsplit(url).query).get("auth", [""])[0].upper() == "EXTERNAL"
