"""Reads the settings file and the `CONSUMER_*` variables, and finds the log format in them. Checks no value.

`loader.py` checks the values. It imports pydantic, which takes 0.1 s of CPU; this module does not, because each
command must know the log format before it runs, and `consumer --version` and `--help` need no setting at all.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from consumer.errors import ConfigurationError

LogFormat = Literal["text", "json"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]

ENV_PREFIX = "CONSUMER_"
#: The settings file must be named, here or by --config. The service does not search the working directory for one,
#: because a file there could change the service by surprise.
CONFIG_VARIABLE = ENV_PREFIX + "CONFIG"


def settings_file(environment: Mapping[str, str]) -> Path | None:
    """Return the path of the settings file that the environment names, if any."""
    return Path(environment[CONFIG_VARIABLE]) if environment.get(CONFIG_VARIABLE) else None


def from_file(path: Path) -> dict[str, Any]:
    """Read the settings file.

    Raises:
        ConfigurationError: it cannot be read, or is not TOML.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # RecursionError: too many levels
        raise ConfigurationError(f"the settings file {path} is not TOML: {error}") from None


def from_environment(environment: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Read the variables of the settings with these names.

    An empty one counts as not set, because Compose and Kubernetes files often contain it.
    """
    variables = ((name, ENV_PREFIX + name.upper()) for name in names)
    return {name: environment[variable] for name, variable in variables if environment.get(variable)}


def asks_for_json(flags: Mapping[str, Any], environment: Mapping[str, str], config: Path | None = None) -> bool:
    """Return whether the log format is JSON. Works even if a setting is invalid, to log the error about it."""
    config = config or settings_file(environment)
    try:
        in_file = from_file(config) if config else {}
    except ConfigurationError:  # `load` will report it
        in_file = {}
    chosen = {**in_file, **from_environment(environment, ("log_format",)), **flags}
    return str(chosen.get("log_format")).lower() == "json"
