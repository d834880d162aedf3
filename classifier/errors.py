"""The error of a command that is neither a bug nor an error of another module."""

from __future__ import annotations


class RefusedError(Exception):
    """The command refuses the user's request. The message has the reason and the remedy."""
