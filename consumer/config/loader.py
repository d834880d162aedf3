"""Where settings come from: flags over `CONSUMER_*` variables, those over the TOML file, that over the defaults.

A value that cannot be used stops the start with its name, where it came from, the value and the remedy; all of
them at once. No other module reads the environment for settings.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from consumer.config.amqp_url import holds_password
from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.escaping import escaped

ENV_PREFIX = "CONSUMER_"
#: Named in the environment or by the flag --config, never looked for: a file in the working directory that
#: changes a service without being named is a surprise.
CONFIG_VARIABLE = ENV_PREFIX + "CONFIG"
#: Of a value, or of what is wrong with it: enough to know it again, and the remedy behind it stays in sight.
SHOWN_CHARACTERS = 200
#: Settings that may hold a password: never quoted, and never taken from a command line with one in it.
URLS = ("amqp_url", "management_url")
#: CONSUMER_HTTP_PORT is ours, and what Kubernetes sets for a Service `consumer-http`.
KUBERNETES = (
    "Kubernetes has set it, for a Service called `{name}` in the same namespace; set enableServiceLinks: false in "
    "the pod, or call the Service otherwise"
)


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    config: Path | None = None,
) -> Settings:
    """Read the settings. `flags` holds only what was given; `config` wins over CONSUMER_CONFIG.

    Raises:
        ConfigurationError: with one line for every value that cannot be used.
    """
    _see_no_password(flags)
    config = config or (Path(environment[CONFIG_VARIABLE]) if environment.get(CONFIG_VARIABLE) else None)
    sources = {
        f"in {config}": _from_file(config) if config else {},
        "from {variable}": _from_environment(environment),
        "from --{flag}": dict(flags),
    }
    values = {name: value for source in sources.values() for name, value in source.items()}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = [_complaint(fault, values, sources) for fault in error.errors(include_url=False)]
        raise ConfigurationError("\n".join(dict.fromkeys(lines))) from None


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Name the CONSUMER_* variables that look like a misspelt setting.

    Not an error: Kubernetes sets CONSUMER_PORT and others for a service that is called `consumer`.
    """
    known = [*(name.upper() for name in Settings.model_fields), CONFIG_VARIABLE.removeprefix(ENV_PREFIX)]
    given = [name.removeprefix(ENV_PREFIX) for name in environment if name.startswith(ENV_PREFIX)]
    unknown = [name for name in given if name not in known]
    # Without the prefix, which makes all names alike: CONSUMER_PORT is Kubernetes's, CONSUMER_HTTP_PORT ours.
    guesses = ((name, difflib.get_close_matches(name, known, n=1, cutoff=0.75)) for name in unknown)
    return [
        f"{ENV_PREFIX}{name} is not a setting; did you mean {ENV_PREFIX}{guess[0]}?"
        for name, guess in guesses
        if guess
    ]


def _see_no_password(flags: Mapping[str, Any]) -> None:
    """Everybody on the machine can read a command line, and shells keep it."""
    for name in URLS:
        if holds_password(str(flags.get(name, ""))):
            variable, flag = ENV_PREFIX + name.upper(), name.replace("_", "-")
            raise ConfigurationError(
                f"{name} from --{flag}: a password in it would be seen in `ps`; set {variable} instead, or "
                "leave the password out and name the file of amqp_url's with amqp_password_file"
            )


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # tomllib lets some of Python's own out
        raise ConfigurationError(f"the settings file {path} is not TOML: {error}") from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An empty variable counts as not set: Compose and Kubernetes files often leave one so."""
    names = ((name, ENV_PREFIX + name.upper()) for name in Settings.model_fields)
    return {name: environment[variable] for name, variable in names if environment.get(variable)}


def _complaint(fault: ErrorDetails, values: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> str:
    reason = escaped(fault["msg"].removeprefix("Value error, "), SHOWN_CHARACTERS * 2)
    if not fault["loc"]:
        return reason
    name = str(fault["loc"][0])
    source = [source for source, given in sources.items() if name in given][-1]
    source = source.replace("{variable}", ENV_PREFIX + name.upper()).replace("{flag}", name.replace("_", "-"))
    if name not in Settings.model_fields:
        guess = difflib.get_close_matches(name, Settings.model_fields, n=1)
        return f"{escaped(name, SHOWN_CHARACTERS)} {source}: no such setting" + (
            f"; did you mean {guess[0]}?" if guess else ""
        )
    if name.endswith("_port") and str(values[name]).startswith("tcp://"):
        reason = KUBERNETES.format(name="consumer-" + name.removesuffix("_port"))
    shown = "(not shown)" if name in URLS else escaped(repr(values[name]), SHOWN_CHARACTERS)
    return f"{name} = {shown} {source}: {reason}; expected: {Settings.model_fields[name].description}"
