"""Makes and reads the ids of jobs that arrive by HTTP: UUIDs of version 7, which contain their time of creation.

An id alone shows whether a gateway can have made it, and whether it is too old. So every gateway answers for every
job, without a list of jobs. Pure, except for the clock and the random bits in `new`.
"""

from __future__ import annotations

import secrets
import time
from uuid import UUID

_VERSION = 7
#: RFC 9562, section 5.7: 48 bits of milliseconds, 4 of version, 12 random, 2 of variant, 62 random.
_TIME_SHIFT, _VERSION_SHIFT, _VARIANT_SHIFT = 80, 76, 62
_VARIANT = 0b10
_RANDOM_A, _RANDOM_B = (1 << 12) - 1, (1 << 62) - 1


def new() -> str:
    """Make an id for a job that has arrived now."""
    return made(int(time.time() * 1000), secrets.randbits(128))


def made(milliseconds: int, chance: int) -> str:
    """Make the id for a time, in ms since the epoch, from 128 random bits."""
    fixed = milliseconds << _TIME_SHIFT | _VERSION << _VERSION_SHIFT | _VARIANT << _VARIANT_SHIFT
    return str(UUID(int=fixed | (chance >> 64 & _RANDOM_A) << 64 | chance & _RANDOM_B))


def made_at(job_id: str) -> float | None:
    """Return when an id was made, in seconds since the epoch; None if `new` cannot have made it."""
    try:
        found = UUID(job_id)
    except ValueError:
        return None
    if str(found) != job_id or found.version != _VERSION:  # UUID() also accepts braces, capitals and no hyphens
        return None
    return (found.int >> _TIME_SHIFT) / 1000
