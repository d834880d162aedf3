"""Measurements that whoever runs the tests shall read; the fixture `tell` shows them."""

from __future__ import annotations

from collections.abc import Callable

#: Shows a line to whoever runs the tests.
Tell = Callable[[str], None]
