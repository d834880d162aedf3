"""Parses and checks AMQP URLs and the URL of the management API, and hides their passwords.

Pure. No message quotes a URL: any part of a malformed one may be a piece of the password.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

PORT = "its port is not a number up to 65535; around an IPv6 address write [ ]"
HOST = (
    "its host has a character that no host has; replace <...> and ${...}, "
    "and start each URL of a list with its scheme"
)
#: Characters that are in a host only by mistake.
FOREIGN = re.compile(r"[<>{}$,;\\]")
UNQUOTED = "cannot be parsed; in a password write / ? # [ ] @ : as %2F %3F %23 %5B %5D %40 %3A"
QUOTED = "there are quotes around it; remove them"
#: Quotation marks: those of a keyboard, the backquote, and those that a word processor writes.
QUOTES = tuple("\"'`\u201c\u201d\u2018\u2019\u00ab\u00bb")


def split_urls(urls: str) -> tuple[str, ...]:
    """Split a list of URLs. A comma may be part of a password, but not before the start of the next URL."""
    return tuple(re.split(r"(?i)[\s,]+(?=amqps?://)", urls.strip()))


def check_url(url: str) -> None:
    """Raise ValueError, without quoting the URL, if it cannot be used for a connection."""
    _check(url, "amqp", "an AMQP")


def check_http_url(url: str) -> None:
    """Raise ValueError as `check_url`, for the URL of the management API."""
    _check(url, "http", "an HTTP")


def check_host(host: str) -> None:
    """Raise ValueError if statsd's host is a URL, is in quotes, or contains blanks or a port."""
    if _is_quoted(host):
        raise ValueError(QUOTED)
    if "/" in host or re.search(r"\s", host):
        raise ValueError("not a host name; write the name alone, without a scheme, path or blanks")
    if re.fullmatch(r"[^:]*:\d*", host):
        raise ValueError("the host contains the port; write the name alone, and set the port as statsd_port")


def _check(url: str, scheme: str, kind: str) -> None:
    """Check for common mistakes before parsing. The parser would report each as an unquoted password."""
    if fault := _slip(url, scheme):
        raise ValueError(f"not {kind} URL: {fault}")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its message would quote a piece of the password
        raise ValueError(UNQUOTED if "@" in url else PORT) from None  # without a login there is no password
    query = "" if scheme == "http" else parts.query
    if "@" in parts.path + query or parts.fragment or (scheme == "http" and parts.query):
        raise ValueError(UNQUOTED)
    if parts.hostname and FOREIGN.search(parts.hostname):
        raise ValueError(f"not {kind} URL: {HOST}")
    if not parts.hostname or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError(f"not {kind} URL: a host is missing, or there is a blank in it")


def _slip(url: str, scheme: str) -> str | None:
    """Return the mistake in the part before the host; None if there is none."""
    if not url.strip():
        return "it is empty"
    if _is_quoted(url):
        return QUOTED
    if re.match(rf"{scheme}s?://", url, re.IGNORECASE):
        return "there are several, without a blank between them" if url.count("://") > 1 else None
    wanted = f"{scheme}:// or {scheme}s://"
    return f"{_beginning(url, scheme)}; it must begin with {wanted}"


def _beginning(url: str, scheme: str) -> str:
    """Describe the start of a URL without the wanted scheme. Only well-known schemes are quoted."""
    if re.match(r"\s*(export\s+)?\w+\s*=", url):
        return "a variable's name stands before it"
    if re.match(rf"{scheme}s?:", url, re.IGNORECASE):
        return "the scheme is followed by one slash or none"
    if other := re.match(r"(amqps?|https?)://", url, re.IGNORECASE):
        return f"its scheme is {other[1].lower()}"
    return "its scheme is another one" if re.match(r"[\w+.-]+://", url) else "the scheme is missing"


def _is_quoted(text: str) -> bool:
    return text.strip()[:1] in QUOTES or text.strip()[-1:] in QUOTES


def redacted(url: str) -> str:
    """Return the URL with its password hidden, for logs and messages."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))


def vhost_of(url: str) -> str:
    """Return the name of the URL's virtual host."""
    return unquote(urlsplit(url).path.removeprefix("/")) or "/"


def holds_password(urls: str) -> bool:
    """Whether any URL of a list contains a password. If a URL cannot be parsed, the answer is yes."""
    try:
        return any(urlsplit(url).password is not None for url in split_urls(urls))
    except ValueError:
        return True


def logs_in_by_certificate(url: str) -> bool:
    """Whether the URL asks for SASL EXTERNAL."""
    return parse_qs(urlsplit(url).query).get("auth", [""])[0].upper() == "EXTERNAL"
