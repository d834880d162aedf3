"""The errors of the service itself, one class for each person or system at fault.

The outcome of a job is never an exception but an `Outcome` (job.py). Each error here ends the process with its
exit code (sysexits.h, so that systemd and Kubernetes show a meaningful number), and its message names the remedy.
"""

from __future__ import annotations

import os
from typing import ClassVar

#: Failed jobs are no error of the command, but a script must be able to detect them.
EXIT_JOBS_FAILED = 1


class ConsumerError(Exception):
    """Base class of all errors that end a command with a sentence instead of a traceback."""

    exit_code: ClassVar[int] = os.EX_SOFTWARE


class ConfigurationError(ConsumerError):
    """The operator's settings or arguments cannot be used; a restart does not help."""

    exit_code = os.EX_CONFIG


class InputError(ConfigurationError):
    """An input file of the command is missing, cannot be read, or contains nothing that can be used."""

    exit_code = os.EX_NOINPUT


class BrokerUnreachableError(ConsumerError):
    """No RabbitMQ answered at the address; it may be down, or the address is wrong."""

    exit_code = os.EX_UNAVAILABLE


class BrokerRefusedError(ConsumerError):
    """RabbitMQ refused: the login, the virtual host, a permission, or a queue with other arguments."""

    exit_code = os.EX_NOPERM


class ConnectionLostError(ConsumerError):
    """The connection to RabbitMQ was lost during work; RabbitMQ will redeliver unsettled messages.

    The service reconnects, so it ends with this error only if the first connection is lost during the start. A
    client raises it in waiting calls after RabbitMQ was unavailable for too long.
    """

    exit_code = os.EX_TEMPFAIL


class TryLaterError(ConsumerError):
    """A temporary condition stops a command: nothing is lost, and the same command works later."""

    exit_code = os.EX_TEMPFAIL
