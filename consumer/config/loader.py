"""Reads the settings from flags, `CONSUMER_*` variables and a TOML file; an earlier source overrides a later one.

An invalid value stops the start; the message names the setting, its source, the value and what is expected, for
all invalid values at once. No other module reads the environment for settings.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from consumer.config import units
from consumer.config.amqp_url import holds_password
from consumer.config.settings import Settings
from consumer.config.sources import CONFIG_VARIABLE, ENV_PREFIX, from_environment, from_file, settings_file
from consumer.errors import ConfigurationError
from consumer.escaping import escaped

#: The most characters of a quoted value: enough to recognise it, and few enough to keep the remedy after it
#: visible.
SHOWN_CHARACTERS = 200
#: Settings that may contain a password: never quoted, and refused on a command line if they contain one.
URLS = ("amqp_url", "management_url")
#: Reasons in place of pydantic's own, by its types of errors. Its messages do not mention the units.
BOUNDS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}"}
REASONS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "int_from_float": "not a whole number",
    "int_type": "must be a whole number",
    "string_too_short": "must not be empty",
    "string_type": "must be a text",
    "path_type": "must be a path",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}
#: CONSUMER_HTTP_PORT is a setting, and a variable that Kubernetes sets for a Service `consumer-http`.
KUBERNETES = (
    "Kubernetes has set it, for a Service called `{name}` in the same namespace; set enableServiceLinks: false in "
    "the pod, or call the Service otherwise"
)


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    config: Path | None = None,
) -> Settings:
    """Read the settings. `flags`: only the given flags; `config` overrides CONSUMER_CONFIG.

    Raises:
        ConfigurationError: with one line for every value that cannot be used.
    """
    _see_no_password(flags)
    config = config or settings_file(environment)
    sources = {
        f"in {config}": from_file(config) if config else {},
        "from {variable}": from_environment(environment, Settings.model_fields),
        "from --{flag}": dict(flags),
    }
    values = {name: value for source in sources.values() for name, value in source.items()}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = [_complaint(fault, values, sources) for fault in error.errors(include_url=False)]
        raise ConfigurationError("\n".join(dict.fromkeys(lines))) from None


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """List the CONSUMER_* variables that look like a misspelt setting.

    They are not an error: Kubernetes sets CONSUMER_PORT and others for a Service named `consumer`.
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
    """Refuse a password in a flag: everyone on the machine can read a command line, and shells store it."""
    for name in URLS:
        if holds_password(str(flags.get(name, ""))):
            variable, flag = ENV_PREFIX + name.upper(), name.replace("_", "-")
            raise ConfigurationError(
                f"{name} from --{flag}: `ps` would show the password in it; set {variable} instead, or remove the "
                "password and set amqp_password_file"
            )


def _complaint(fault: ErrorDetails, values: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> str:
    reason = escaped(_reason(fault), SHOWN_CHARACTERS * 2)
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
    return f"{name} = {shown} {source}: {reason}; `consumer settings {name}` explains it"


def _reason(fault: ErrorDetails) -> str:
    """Return what is wrong, with limits in the units that the setting accepts."""
    known = fault.get("ctx", {})
    name = str(fault["loc"][0]) if fault["loc"] else ""
    for bound, words in BOUNDS.items():
        if bound in known:
            return "must be " + words.format(units.shown(name, known[bound]))
    if fault["type"] == "literal_error":
        return f"must be {known['expected'].replace(chr(39), '')}"
    return REASONS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
