"""How long a caller wants to wait: `Prefer: wait=10` (RFC 7240). Pure.

A preference that cannot be read is ignored, as the RFC requires. One that is too long is cut, and the answer
contains the value used (`Preference-Applied`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Proxies give a request a minute, most of them (nginx: proxy_read_timeout 60s): an answer a little before that.
MAX_WAIT_S = 50
#: A token, and perhaps its value, quoted or not; parameters after `;` are none of ours.
_PREFERENCE = re.compile(
    r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*))?\s*(?:;[^,]*)?'
)


def wait_s(prefer: Iterable[str]) -> int | None:
    """Read the seconds to wait from the lines of the header; None if there are none. The first one counts."""
    for line in prefer:
        for part in line.split(","):
            found = _PREFERENCE.fullmatch(part)
            if found and found[1].lower() == "wait":
                return _seconds(found[2] or "")
    return None


def _seconds(text: str) -> int | None:
    digits = text.strip('"')
    # More digits than any wait has are no reason to make a large number of them.
    if not re.fullmatch(r"[0-9]{1,9}", digits):
        return None
    return min(int(digits), MAX_WAIT_S)
