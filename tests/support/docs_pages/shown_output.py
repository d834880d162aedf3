"""Compares the output of a command with the output that a page shows."""

from __future__ import annotations

import re


def assert_shows(said: str, shown: str) -> None:
    """Assert that the output `said` of a command is as `shown` on a page.

    Numbers, blanks and the length of a ruled line may differ, and `...` on the page matches any text.
    """
    pattern = r"\s*".join(_pattern(line) for line in shown.split("\n") if line.strip())
    assert re.search(pattern, _even(said)), f"said:\n{said}\nand not, as the page shows:\n{shown}"


def _even(text: str) -> str:
    return " ".join(re.sub("─+", "─", re.sub(r"\d+(?:[.,]\d+)*", "0", text)).split())


def _pattern(line: str) -> str:
    return ".*?".join(re.escape(_even(part)).replace(r"\ ", r"\s*") for part in line.split("..."))
