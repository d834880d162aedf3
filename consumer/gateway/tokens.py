"""Checks bearer tokens (RFC 6750) against a file with one per line, so that an old and a new token can overlap.

Each request checks whether the file has changed, and reads it again if so. The comparison always covers every
token, so its duration reveals nothing. No message quotes a token.
"""

from __future__ import annotations

import hmac
import logging
import re
from pathlib import Path

from consumer.errors import ConfigurationError
from consumer.wording import counted

log = logging.getLogger(__name__)

#: 16 characters of base64 are 96 bits: too many to guess by requests.
MIN_CHARACTERS = 16
#: The syntax of a token: RFC 6750, section 2.1.
_TOKEN = re.compile(rf"[A-Za-z0-9._~+/-]{{{MIN_CHARACTERS - 2},}}=*")
_SCHEME = "bearer "


class Tokens:
    """The valid tokens. Mutable state: `_tokens`, as last read; `_seen`, the state of the file at that time."""

    def __init__(self, path: Path | None) -> None:
        """Read the file once. Without a file every request is allowed.

        Raises:
            ConfigurationError: the file cannot be read, or holds no tokens.
        """
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._tokens: list[bytes] = []
        if path is not None:
            self._renew(path)

    def allow(self, authorization: str | None) -> bool:
        """Return whether the header `Authorization` holds one of the tokens."""
        if self._path is None:
            return True
        try:
            if self._renew(self._path):
                count = counted(len(self._tokens), "token")
                log.info("gateway_token_file has changed: %s", count, extra={"event": "tokens_reloaded"})
        except ConfigurationError as error:
            log.error("%s; the old tokens stay valid", error, extra={"event": "tokens_not_reloaded"})
        given = (authorization or "").encode()
        if given[: len(_SCHEME)].lower() != _SCHEME.encode():
            return False
        token = given[len(_SCHEME) :].strip()
        return sum(hmac.compare_digest(token, known) for known in self._tokens) > 0

    def _renew(self, path: Path) -> bool:
        """Read the file if it has changed, and return whether it has.

        Raises:
            ConfigurationError: the file cannot be used; the tokens stay as they are.
        """
        try:
            found = path.stat()
            state = found.st_mtime_ns, found.st_size, found.st_ino
            if state == self._seen:
                return False
            self._seen = state
            lines = [line.strip() for line in path.read_text(encoding="ascii").splitlines()]
        except OSError as error:
            raise ConfigurationError(
                f"gateway_token_file {str(path)!r} cannot be read: {error.strerror}"
            ) from None
        except UnicodeDecodeError:  # its message would quote the bytes
            raise ConfigurationError(f"gateway_token_file {str(path)!r} is not ASCII text") from None
        tokens = [line for line in lines if line]
        if not tokens or not all(_TOKEN.fullmatch(token) for token in tokens):
            raise ConfigurationError(
                f"gateway_token_file {str(path)!r} must hold a token in each line, of at least {MIN_CHARACTERS} "
                "letters, digits or -._~+/; `openssl rand -base64 24` makes one"
            )
        self._tokens = [token.encode() for token in tokens]
        return True
