"""Words that several packages need in messages. Pure."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: `1 slot`, `2 slots`. The noun must form its plural with `s`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
