"""What can go wrong with the service itself, split by who has to act.

How a job ended is never an exception: that is an `Outcome` (job.py). Each error here ends the process with
the exit code it carries (sysexits.h, so that systemd and Kubernetes show a telling number), and its message
names the remedy.
"""

from __future__ import annotations

import os
from typing import ClassVar

#: Jobs that failed are no error of a command, but a script wants to know.
EXIT_JOBS_FAILED = 1


class ConsumerError(Exception):
    """Never raised itself; every error that ends a command with a sentence instead of a traceback."""

    exit_code: ClassVar[int] = os.EX_SOFTWARE


class ConfigurationError(ConsumerError):
    """The operator's settings or input files cannot work as they are; starting again does not help."""

    exit_code = os.EX_CONFIG


class BrokerUnreachableError(ConsumerError):
    """No RabbitMQ answered at the address; it may be down or the address wrong."""

    exit_code = os.EX_UNAVAILABLE


class BrokerRefusedError(ConsumerError):
    """RabbitMQ answered and said no: login, virtual host, permission or a queue that is declared otherwise."""

    exit_code = os.EX_NOPERM


class ConnectionLostError(ConsumerError):
    """The connection to RabbitMQ went away while we worked; what was not settled will be delivered again.

    The service connects again: only one that has never served ends with this. So does a client, which tells who
    waits when RabbitMQ was away for too long.
    """

    exit_code = os.EX_TEMPFAIL


class TryLaterError(ConsumerError):
    """Something that passes stands in the way of a tool: nothing is lost, and the same command works later."""

    exit_code = os.EX_TEMPFAIL
