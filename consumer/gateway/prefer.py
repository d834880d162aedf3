"""Reads how long a caller wants to wait: `Prefer: wait=10` (RFC 7240). Pure.

An invalid preference is ignored, as the RFC requires. A wait that is too long is cut; the answer's
`Preference-Applied` has the value used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: The answer comes before most proxies time out a request, after a minute (nginx: proxy_read_timeout 60s).
MAX_WAIT_S = 50
#: A token and an optional value, quoted or not; parameters after `;` are ignored.
_PREFERENCE = re.compile(
    r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*))?\s*(?:;[^,]*)?'
)


def wait_s(prefer: Iterable[str]) -> int | None:
    """Read the first `wait` in the lines of the header, in seconds; None if there is none or it is invalid."""
    for line in prefer:
        for part in line.split(","):
            found = _PREFERENCE.fullmatch(part)
            if found and found[1].lower() == "wait":
                return _seconds(found[2] or "")
    return None


def _seconds(text: str) -> int | None:
    digits = text.strip('"')
    # Longer numbers are not converted: no wait has so many digits.
    if not re.fullmatch(r"[0-9]{1,9}", digits):
        return None
    return min(int(digits), MAX_WAIT_S)
