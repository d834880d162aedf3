"""Measurements for the person who runs the tests; the fixture `tell` prints them."""

from __future__ import annotations

from collections.abc import Callable

#: Prints a line for the person who runs the tests.
Tell = Callable[[str], None]
