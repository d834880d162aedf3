"""Hides this process's memory from the classifiers that it starts, which run as the same user.

The AMQP URL and its password are in this process's environment and memory. Linux shows both to every process of
the same user: /proc/PID/environ, /proc/PID/mem, a debugger. A variable stays visible there even after the process
has removed it. Linux shows a process that is not "dumpable" to root only, and writes no core dump of it. The
programs that it starts are dumpable again, but have their own environment.
"""

from __future__ import annotations

import ctypes
import logging
import os

log = logging.getLogger(__name__)

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def hide_process() -> None:
    """Hide this process from other processes of its user, from now on, but not from root."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        reason = os.strerror(ctypes.get_errno())
        log.warning(
            "this process's memory cannot be hidden from its user's other processes: %s",
            reason,
            extra={"event": "memory_not_hidden"},
        )
