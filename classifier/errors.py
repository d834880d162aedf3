"""The error that ends a command without being a bug and belongs to no other module."""

from __future__ import annotations


class RefusedError(Exception):
    """The command cannot do what the user asked for. The message has the reason, and what to do instead."""
