"""The service's settings: frozen, read once at the start, valid from then on.

Flags win over `CONSUMER_*` variables, those over the TOML file, that over the defaults here. A value that
cannot be used stops the start with its name, where it came from, the value and the remedy. Each field's
description is that remedy and its line in the README. No other module reads the environment for settings.
"""

from __future__ import annotations

import difflib
import json
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from consumer.cpus import usable_cpus
from consumer.errors import ConfigurationError

ENV_PREFIX = "CONSUMER_"
#: Named in the environment or by the flag --config, never looked for: a file in the working directory that
#: changes a service without being named is a surprise.
CONFIG_VARIABLE = ENV_PREFIX + "CONFIG"
#: Shortest run time worth raising the cap for: most services that set no cap have jobs of seconds.
LEAST_TIMEOUT_CAP_S = 600.0
#: After its run time a job is killed, its output read, and its reply confirmed: the timeouts of all that together.
SETTLING_S = 60.0
UNQUOTED = "cannot be taken apart; in a password write / ? # [ ] @ : as %2F %3F %23 %5B %5D %40 %3A"


def _list_from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("not a JSON list") from None


class Settings(BaseModel):
    """Everything an operator can choose. Times are in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="python-re")

    amqp_url: SecretStr | None = Field(
        None,
        description="amqp://user:password@host:5672/vhost (or amqps://), several of one cluster with spaces "
        "between them; not set: a private RabbitMQ node",
    )
    prefix: str = Field(
        "classifier",
        pattern=r"^(?!amq\.)[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        description="1 to 100 letters, digits, `.`, `_` or `-`: the first part of every queue's and metric's name",
    )
    declare: bool = Field(
        True,
        description="true: create queues and exchanges; false: only check that they are there",
    )
    pool_size: int = Field(
        default_factory=usable_cpus,
        ge=1,
        le=1024,
        description="1 to 1024 jobs at once, also the prefetch; default: the CPUs this process may use",
    )
    command: Annotated[tuple[str, ...], BeforeValidator(_list_from_json)] | None = Field(
        None,
        min_length=1,
        description='a JSON list, the program and its arguments, e.g. ["python3", "classify.py"]; '
        "the job's path is appended",
    )
    classifier: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="package.module:function, called with the job as a dict; instead of `command`",
    )
    jobs_per_worker: int = Field(
        1000,
        ge=1,
        description="how many jobs a warm worker runs before it is replaced by a fresh fork; 1: a fresh process "
        "per job",
    )
    max_worker_growth_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1024 * 1024,
        description="a warm worker whose memory has grown by this much since it was forked is replaced, "
        "at least 1048576",
    )
    pass_environment: Annotated[tuple[str, ...], BeforeValidator(_list_from_json)] = Field(
        (),
        description='a JSON list of variables that the classifier gets from our environment, e.g. ["MY_REGION"]; '
        "others are kept from it, but for a few harmless ones",
    )
    models_dir: Path = Field(
        Path("models"),
        description="the folder with the model files; the classifier finds it in CONSUMER_MODELS_DIR",
    )
    job_timeout_s: float = Field(
        60.0,
        gt=0,
        le=86_400,
        description="seconds a job may run before it is killed, up to 86400, unless its header `timeout-s` says",
    )
    job_timeout_cap_s: float | None = Field(
        None,
        gt=0,
        le=86_400,
        description="the longest run time a job's header `timeout-s` may ask for; default: 600, "
        "or job_timeout_s where that is longer",
    )
    consumer_timeout_s: float = Field(
        1800.0,
        ge=0,
        description="RabbitMQ's own consumer_timeout in seconds, above what any job may take; "
        "0: switched off there",
    )
    max_attempts: int = Field(
        3,
        ge=1,
        le=50,
        description="1 to 50: how often a job that crashes, times out or goes over a limit is tried",
    )
    max_body_bytes: int = Field(
        4 * 1024 * 1024,
        ge=2,
        le=128 * 1024 * 1024,
        description="the largest job, up to 134217728; 4 MiB is about twice 100,000 samples of 20 digits",
    )
    max_line_bytes: int = Field(
        1024 * 1024,
        ge=1024,
        le=16 * 1024 * 1024,
        description="the longest line a classifier may print, 1024 to 16777216, so also its largest result",
    )
    max_stdout_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1024,
        description="how much a classifier may print on stdout in one job, at least 1024",
    )
    job_dir: Path = Field(
        default_factory=lambda: Path(tempfile.gettempdir()),
        description="where job files are written; a tmpfs such as /dev/shm keeps them off the disk",
    )
    drain_grace_s: float = Field(
        30.0,
        ge=0,
        le=86_400,
        description="seconds that running jobs get to finish after SIGTERM; then they go back to the queue",
    )
    statsd_host: str | None = Field(None, min_length=1, description="statsd's host; not set: no metrics")
    statsd_port: int = Field(8125, ge=1, le=65535, description="statsd's UDP port, 1 to 65535")

    @field_validator("amqp_url")
    @classmethod
    def _amqp_url_is_one(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        for url in _urls(value):
            _check_url(url)
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """Pydantic would take it for 1."""
        if isinstance(value, bool) and info.field_name != "declare":
            raise ValueError("true and false are no value for this")
        return value

    @model_validator(mode="after")
    def _one_classifier(self) -> Self:
        if self.command and self.classifier:
            raise ValueError("`command` and `classifier` are both set; remove one of them")
        return self

    @model_validator(mode="after")
    def _cap_is_above_default(self) -> Self:
        if self.job_timeout_cap_s is not None and self.job_timeout_cap_s < self.job_timeout_s:
            raise ValueError(
                f"job_timeout_cap_s ({self.job_timeout_cap_s:g}) is less than job_timeout_s "
                f"({self.job_timeout_s:g}); raise the cap or lower the time limit"
            )
        return self

    @model_validator(mode="after")
    def _rabbitmq_waits_longer(self) -> Self:
        """RabbitMQ does not tell its own value, and nothing renews a delivery: what takes too long comes again."""
        needed = self.longest_timeout_s + SETTLING_S
        if 0 < self.consumer_timeout_s <= needed:
            raise ValueError(
                f"a job may take {self.longest_timeout_s:g} s and {SETTLING_S:g} s to settle, but after "
                f"{self.consumer_timeout_s:g} s (consumer_timeout_s) RabbitMQ delivers it again; set "
                "job_timeout_cap_s lower, or raise consumer_timeout in RabbitMQ's configuration and "
                "consumer_timeout_s here"
            )
        return self

    @property
    def amqp_urls(self) -> tuple[str, ...]:
        """Where RabbitMQ may be: nodes of one cluster. Empty: a private node."""
        return _urls(self.amqp_url) if self.amqp_url else ()

    @property
    def longest_timeout_s(self) -> float:
        """The longest run time any job gets, in seconds."""
        return self.job_timeout_cap_s or max(LEAST_TIMEOUT_CAP_S, self.job_timeout_s)


def _urls(value: SecretStr) -> tuple[str, ...]:
    """Take the list apart. A comma may stand in a password, but not before the beginning of the next URL."""
    return tuple(re.split(r"[\s,]+(?=amqps?://)", value.get_secret_value().strip()))


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # its message would quote a piece of the password
        raise ValueError(UNQUOTED) from None
    if "@" in parts.path + parts.query or parts.fragment:
        raise ValueError(UNQUOTED)
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname or re.search(r"\s", url):
        raise ValueError("not an AMQP URL")


def load(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    config: Path | None = None,
) -> Settings:
    """Read the settings. `flags` holds only what was given; `config` wins over CONSUMER_CONFIG.

    Raises:
        ConfigurationError: with one line for every value that cannot be used.
    """
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
        raise ConfigurationError("\n".join(lines)) from None


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Name the CONSUMER_* variables that look like a misspelt setting.

    Not an error: Kubernetes sets CONSUMER_PORT and others for a service that is called `consumer`.
    """
    known = [*(ENV_PREFIX + name.upper() for name in Settings.model_fields), CONFIG_VARIABLE]
    unknown = [name for name in environment if name.startswith(ENV_PREFIX) and name not in known]
    guesses = ((name, difflib.get_close_matches(name, known, n=1, cutoff=0.8)) for name in unknown)
    return [f"{name} is not a setting; did you mean {guess[0]}?" for name, guess in guesses if guess]


def redacted(url: str) -> str:
    """Return the URL with its password hidden, for logs and messages."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the settings file {path} is not TOML: {error}") from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """An empty variable counts as not set: Compose and Kubernetes files often leave one so."""
    names = ((name, ENV_PREFIX + name.upper()) for name in Settings.model_fields)
    return {name: environment[variable] for name, variable in names if environment.get(variable)}


def _complaint(fault: ErrorDetails, values: Mapping[str, Any], sources: Mapping[str, Mapping[str, Any]]) -> str:
    reason = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return str(reason)
    name = str(fault["loc"][0])
    source = [source for source, given in sources.items() if name in given][-1]
    source = source.replace("{variable}", ENV_PREFIX + name.upper()).replace("{flag}", name.replace("_", "-"))
    if name not in Settings.model_fields:
        guess = difflib.get_close_matches(name, Settings.model_fields, n=1)
        return f"{name} {source}: no such setting" + (f"; did you mean {guess[0]}?" if guess else "")
    shown = "(not shown)" if name == "amqp_url" else repr(values[name])
    return f"{name} = {shown} {source}: {reason}; expected: {Settings.model_fields[name].description}"
