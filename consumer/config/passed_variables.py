"""Checks the variables that `pass_environment` names. Pure.

A variable that the service sets itself, or that contains its own login, is refused at the start: otherwise the
setting would have no effect, or expose a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: Set by the service for each job, whatever its own environment contains.
OF_THE_JOB = ("HOME", "TMPDIR", "JOB_ID", "JOB_ATTEMPT", "TRACEPARENT")
#: Settings that classifiers always receive with their effective value, wherever it was set.
OF_THE_SETTINGS = ("CONSUMER_MODELS_DIR", "CONSUMER_MAX_MODEL_BYTES", "CONSUMER_TRUSTED_MODELS")
LOGINS = ("CONSUMER_AMQP_URL", "CONSUMER_MANAGEMENT_URL")


def complaint(variable: str) -> str | None:  # noqa: PLR0911 - a row for each kind of name
    """Return why a variable cannot be passed, and what to do; None if it can."""
    if variable in LOGINS:
        return f"{variable} contains this service's own login; give the classifier one of its own"
    if variable in OF_THE_JOB:
        return (
            f"{variable} is set anew for each job, so yours would not reach the classifier; remove it here, and "
            f"pass your value in a variable of another name, such as MY_{variable}"
        )
    if variable in OF_THE_SETTINGS:
        return f"{variable} always reaches the classifier, with the value in force; remove it here"
    if variable.startswith("CONSUMER_"):
        return f"{variable} is a setting of this service; pass your value in a variable of another name"
    if "=" in variable:
        return f"{variable!r} is no name; give the name alone, and set its value in the environment of the service"
    if not variable or variable != variable.strip() or "\0" in variable:
        return f"{variable!r} is no name of a variable"
    return None


def missing(names: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """List the variables to be passed that are not set."""
    return [name for name in names if name not in environment]
