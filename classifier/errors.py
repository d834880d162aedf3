"""What ends a command without being a bug, and belongs to none of the nouns that have an error of their own."""

from __future__ import annotations


class RefusedError(Exception):
    """What the user asked for cannot be done. The message says why, and what to do instead."""
