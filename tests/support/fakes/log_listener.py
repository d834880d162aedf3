"""Collects the job's fields of each log record."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from consumer.telemetry import log_context


@contextmanager
def jobs_told() -> Iterator[list[dict[str, log_context.Field]]]:
    """Collect the job's fields of each record that is logged during the block."""
    told: list[dict[str, log_context.Field]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002 - logging's signature
            told.append(log_context.fields())

    listener, root = Listener(), logging.getLogger()
    root.addHandler(listener)
    yield told
    root.removeHandler(listener)
