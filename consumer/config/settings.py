"""What an operator can choose: frozen, read once at the start (loader.py), valid from then on.

Each field's description is the remedy that a complaint about its value names, and its line in docs/reference.md.
Nothing is read here, neither files nor the environment.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from consumer.config import function_name, passed_variables
from consumer.config.amqp_url import check_host, check_http_url, check_url, split_urls
from consumer.config.cpu_count import usable_cpus
from consumer.config.credentials import Credentials
from consumer.config.job_limits import (
    MAX_FOLDER_BYTES,
    MAX_MEMORY_BYTES,
    MAX_PROCESSES,
    MIN_FREE_BYTES,
    STDERR_TAIL_BYTES,
    Limits,
)
from consumer.wire.read import JobRules
from consumer.wire.topology import Topology

#: Shortest run time worth raising the cap for: most services that set no cap have jobs of seconds.
LEAST_TIMEOUT_CAP_S = 600.0
#: A reply is one line of output and less than 1 KiB around it; RabbitMQ from 4.0 on takes 16 MiB (16777216).
MAX_LINE_BYTES = 16_000_000
#: After its run time a job is killed, its output read, and its reply confirmed: the timeouts of all that together.
SETTLING_S = 60.0
#: That a job in a batch may be held for where one in each batch hangs: see `longest_hold_s`.
RUNS_OF_A_BATCH = 4
#: An exbibyte: the sum of several still fits into the kernel's 64 bits.
MAX_NUMBER = 2**60


LogFormat = Literal["text", "json"]


def _list_from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("not a JSON list") from None


def _see_system_takes(text: str) -> None:
    """Everything here ends up in a file's name, an argument, or a host's name."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no character") from None
    if b"\0" in encoded:
        raise ValueError("holds a NUL character")


def _temporary_folder() -> Path:
    """Choose as Python does. Most commands need none, so JobFiles.open reports one that cannot be written to."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return Path(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - only looked at


class Settings(BaseModel):
    """Everything an operator can choose. Times are in seconds, sizes in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="python-re")

    amqp_url: SecretStr | None = Field(
        None,
        description="amqp://user:password@host:5672/vhost (or amqps://), several of one cluster with spaces "
        "between them; not set: a private RabbitMQ node",
    )
    amqp_password_file: Path | None = Field(
        None,
        description="a file whose first line is the password of the user in amqp_url, read at each connect",
    )
    amqp_ca_file: Path | None = Field(
        None,
        description="certificates (PEM) of the CAs that RabbitMQ's must be signed by; not set: the system's",
    )
    amqp_cert_file: Path | None = Field(
        None,
        description="our client certificate (PEM); with ?auth=EXTERNAL in amqp_url it is the login, too",
    )
    amqp_key_file: Path | None = Field(
        None,
        description="its private key (PEM), without a passphrase; not set: it is in amqp_cert_file",
    )
    management_url: SecretStr | None = Field(
        None,
        description="http://host:15672 (or https://), RabbitMQ's management API, for `check` and `status` alone; "
        "the login is that of amqp_url unless user:password@ is given; not set: some answers stay unknown",
    )
    prefix: str = Field(
        "classifier",
        pattern=r"^(?!amq\.)[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z",
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
        description="1 to 1024 jobs at once, also the prefetch where batch_size is 1; default: the CPUs this "
        "process may use",
    )
    command: Annotated[tuple[str, ...], BeforeValidator(_list_from_json)] | None = Field(
        None,
        min_length=1,
        description='a JSON list, the program and its arguments, e.g. ["python3", "classify.py"]; '
        "the job's path is appended",
    )
    classifier: str | None = Field(
        None,
        description="package.module:function, called with the job as a dict; instead of `command`",
    )
    jobs_per_worker: int = Field(
        1000,
        ge=1,
        description="how many jobs a warm worker runs before it is replaced by a fresh fork; 1: a fresh process "
        "per job",
    )
    # 128: then the order of a batch fits into a pipe, whatever the jobs' ids are (worker.py).
    batch_size: int = Field(
        1,
        ge=1,
        le=128,
        description="1 to 128: how many waiting jobs a warm worker is handed at once, where its function takes a "
        "batch; the prefetch is then this times pool_size + 1",
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
    trusted_models: Path | None = Field(
        None,
        description="the file with the SHA-256 of each model that may be loaded, outside of models_dir; "
        "default: beside it, called as it is and `.trusted`",
    )
    max_model_bytes: int = Field(
        512 * 1024 * 1024,
        ge=1024,
        description="the largest model file, at least 1024; while it is loaded it takes twice that in memory",
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
        description="the longest run time a job's header `timeout-s` may ask for; default: 600, or job_timeout_s "
        "where that is longer, or a batch_size is set",
    )
    consumer_timeout_s: float = Field(
        1800.0,
        ge=0,
        description="RabbitMQ's own consumer_timeout in seconds, above what any job may take; "
        "0: switched off there",
    )
    reply_to_allowed: str | None = Field(
        None,
        min_length=1,
        description="a regular expression that the whole of a job's `reply_to` must match; not set: any queue but "
        "our own and RabbitMQ's",
    )
    max_attempts: int = Field(
        3,
        ge=1,
        le=50,
        description="1 to 50: how often a job that crashes, times out or goes over a limit is tried",
    )
    # Off: it costs RabbitMQ a channel per job, and a job may be wanted for more than its reply.
    drop_if_caller_gone: bool = Field(
        False,
        description="true: before a job runs whose `reply_to` is its caller's own (direct reply-to or a "
        "server-named queue), ask RabbitMQ whether that is still there; without it the job is done",
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
        le=MAX_LINE_BYTES,
        description="the longest line a classifier may print, 1024 to 16000000, so also its largest result; with "
        "the rest of the reply below the 16 MiB that RabbitMQ 4 takes",
    )
    max_stdout_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1024,
        description="how much a classifier may print on stdout in one job, at least 1024",
    )
    stderr_tail_bytes: int = Field(
        STDERR_TAIL_BYTES,
        ge=0,
        le=65_536,
        description="how much of the end of stderr goes with the reply of a job that failed, up to 65536",
    )
    max_memory_bytes: int = Field(
        MAX_MEMORY_BYTES,
        ge=32 * 1024 * 1024,
        description="the memory that all processes of a job may take, for a warm worker beyond what it was forked "
        "with, at least 33554432",
    )
    max_cpu_s: float | None = Field(
        None,
        gt=0,
        description="CPU seconds that all processes of a job may take; default: twice its run time",
    )
    max_processes: int = Field(
        MAX_PROCESSES,
        ge=1,
        le=100_000,
        description="how many processes a job may have at once, 1 to 100000",
    )
    max_folder_bytes: int = Field(
        MAX_FOLDER_BYTES,
        ge=1024 * 1024,
        description="how much a job may write to its folder, beside its input, also its largest file anywhere, at "
        "least 1048576",
    )
    min_free_bytes: int = Field(
        MIN_FREE_BYTES,
        ge=0,
        description="where job_dir has less room than this, the job that has written the most there is killed; a "
        "job's own input does not count",
    )
    sandbox: bool = Field(
        False,
        description="true: programs of `command` run under bubblewrap, without network, with nothing to write to "
        "but the job's folder",
    )
    sandbox_paths: Annotated[tuple[Path, ...], BeforeValidator(_list_from_json)] = Field(
        (),
        description="a JSON list of files and folders that the program may read there, beside the system's, its "
        "own and the models",
    )
    job_dir: Path = Field(
        default_factory=_temporary_folder,
        description="where job files are written; a tmpfs keeps them off the disk, and needs min_free_bytes and "
        "pool_size times max_body_bytes at least, for which the 64 MiB of /dev/shm in Docker are too few",
    )
    drain_grace_s: float = Field(
        30.0,
        ge=0,
        le=86_400,
        description="seconds that running jobs get to finish after SIGTERM; then they go back to the queue",
    )
    statsd_host: str | None = Field(None, min_length=1, description="statsd's host; not set: no metrics")
    statsd_port: int = Field(8125, ge=1, le=65535, description="statsd's UDP port, 1 to 65535")
    http_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="the TCP port of /live, /ready and /metrics, 1 to 65535, or 0 for a free one, which the log "
        "names; not set: none",
    )
    # Loopback: what is served is no secret, but nobody else's business unless the operator says so.
    http_host: str = Field(
        "127.0.0.1", min_length=1, description="the address that they are served at; 0.0.0.0: at all addresses"
    )
    # Loopback, as above: a gateway is for a reverse proxy that has TLS, or for this machine.
    gateway_host: str = Field(
        "127.0.0.1", min_length=1, description="the address that `consumer gateway` listens at; 0.0.0.0: all"
    )
    gateway_port: int = Field(
        8080, ge=0, le=65535, description="its TCP port, 1 to 65535, or 0 for a free one, which the log names"
    )
    gateway_token_file: Path | None = Field(
        None,
        description="a file with a bearer token in each line, one of which a job by HTTP must come with; "
        "not set: whoever reaches the port may send jobs",
    )
    log_format: LogFormat = Field("text", description="text, for people, or json, an object per line")
    # Off: it needs the extra `otel`, and somebody who listens.
    tracing: bool = Field(
        False,
        description="true: send OpenTelemetry's spans of each job to where its OTEL_* variables say; needs the "
        "extra `otel`",
    )

    @field_validator("amqp_url")
    @classmethod
    def _amqp_url_is_one(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        for url in split_urls(value.get_secret_value()):
            check_url(url)
        return value

    @field_validator("management_url")
    @classmethod
    def _management_url_is_one(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_http_url(value.get_secret_value())
        return value

    @field_validator("statsd_host")
    @classmethod
    def _statsd_host_is_one(cls, value: str | None) -> str | None:
        if value is not None:
            check_host(value)
        return value

    @field_validator("classifier")
    @classmethod
    def _classifier_is_a_target(cls, value: str | None) -> str | None:
        if value is not None and (fault := function_name.complaint(value)):
            raise ValueError(fault)
        return value

    @field_validator("pass_environment")
    @classmethod
    def _passes_what_can_be_passed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for variable in value:
            if fault := passed_variables.complaint(variable):
                raise ValueError(fault)
        return value

    @field_validator("reply_to_allowed")
    @classmethod
    def _reply_to_allowed_compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"no regular expression: {error}") from None
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """Pydantic would take it for 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false are no value for this")
        return value

    @field_validator("*")
    @classmethod
    def _number_is_one_of_a_machine(cls, value: object) -> object:
        """The kernel refuses a larger one where it is a limit, and then each job would fail."""
        if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
            raise ValueError(f"more than {MAX_NUMBER}, which no machine has")
        return value

    @field_validator("*")
    @classmethod
    def _system_takes_every_text(cls, value: object) -> object:
        for part in value if isinstance(value, tuple) else (value,):
            text = part.get_secret_value() if isinstance(part, SecretStr) else part
            if isinstance(text, str | Path):
                _see_system_takes(str(text))
        return value

    @model_validator(mode="after")
    def _credentials_fit_the_urls(self) -> Self:
        if not self.amqp_urls and self.credentials != Credentials():
            raise ValueError(
                "amqp_url is not set, but a file for it is; set amqp_url, or remove the file's setting"
            )
        for url in self.amqp_urls:
            if complaint := self.credentials.complaint(url):
                raise ValueError(complaint)
        return self

    @model_validator(mode="after")
    def _one_classifier(self) -> Self:
        if self.command and self.classifier:
            raise ValueError("`command` and `classifier` are both set; remove one of them")
        return self

    @model_validator(mode="after")
    def _sandbox_is_for_programs(self) -> Self:
        if self.sandbox and not self.command:
            raise ValueError(
                "`sandbox` is for programs of `command`, and none is set; run a function as "
                '["python3", "-m", "classifier", "--call", "package.module:function"]'
            )
        return self

    @model_validator(mode="after")
    def _batches_are_for_workers(self) -> Self:
        if self.batch_size > 1 and self.command:
            raise ValueError(
                "`batch_size` is for a function in warm workers, and a program of `command` takes one job at a "
                "time; set batch_size to 1, or name a function as `classifier`"
            )
        if self.batch_size > self.jobs_per_worker:
            raise ValueError(
                f"batch_size ({self.batch_size}) is more than jobs_per_worker ({self.jobs_per_worker}), and the "
                "jobs of a batch share a worker; set batch_size lower, or raise jobs_per_worker"
            )
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
        if 0 < self.consumer_timeout_s <= self.longest_hold_s:
            times = f" {RUNS_OF_A_BATCH} times (batch_size)" if self.batch_size > 1 else ""
            raise ValueError(
                f"a job may take{times} {self.longest_timeout_s:g} s and {SETTLING_S:g} s to settle, but after "
                f"{self.consumer_timeout_s:g} s (consumer_timeout_s) RabbitMQ delivers it again; set "
                "job_timeout_cap_s lower, or raise consumer_timeout in RabbitMQ's configuration and "
                "consumer_timeout_s here"
            )
        return self

    @property
    def amqp_urls(self) -> tuple[str, ...]:
        """Where RabbitMQ may be: nodes of one cluster. Empty: a private node."""
        return split_urls(self.amqp_url.get_secret_value()) if self.amqp_url else ()

    @property
    def credentials(self) -> Credentials:
        """The files that go with the URLs."""
        return Credentials(self.amqp_ca_file, self.amqp_cert_file, self.amqp_key_file, self.amqp_password_file)

    @property
    def topology(self) -> Topology:
        """The names in RabbitMQ that these settings mean."""
        return Topology(self.prefix, self.max_attempts)

    @property
    def job_rules(self) -> JobRules:
        """What a message must keep to be a job."""
        return JobRules(
            max_body_bytes=self.max_body_bytes,
            timeout_s=self.job_timeout_s,
            longest_timeout_s=self.longest_timeout_s,
            reply_to_allowed=self.reply_to_allowed,
        )

    @property
    def longest_timeout_s(self) -> float:
        """The longest run time any job gets, in seconds."""
        least = 0.0 if self.batch_size > 1 else LEAST_TIMEOUT_CAP_S  # jobs that run together are short
        return self.job_timeout_cap_s or max(least, self.job_timeout_s)

    @property
    def prefetch(self) -> int:
        """How many jobs are held at once.

        In batches it is one batch more than can run: it waits while those that have run are settled and RabbitMQ
        sends others. Without it batches are half as large, for a slot takes what is there (bench_batches.py).
        """
        return self.pool_size if self.batch_size == 1 else (self.pool_size + 1) * self.batch_size

    @property
    def longest_hold_s(self) -> float:
        """How long RabbitMQ is to wait for a job to be settled, in seconds.

        In batches, where one job of each hangs: the batch before, that job alone, its own batch, and itself alone.
        Where more do, jobs may be delivered again, and are answered with the outcome that is remembered.
        """
        runs = 1 if self.batch_size == 1 else RUNS_OF_A_BATCH
        return runs * self.longest_timeout_s + SETTLING_S

    def limits(self, timeout_s: float) -> Limits:
        """Give what a job may take that has this run time, in seconds."""
        return Limits(
            timeout_s=timeout_s,
            max_line_bytes=self.max_line_bytes,
            max_stdout_bytes=self.max_stdout_bytes,
            stderr_tail_bytes=self.stderr_tail_bytes,
            max_memory_bytes=self.max_memory_bytes,
            max_cpu_s=self.max_cpu_s,
            max_processes=self.max_processes,
            max_folder_bytes=self.max_folder_bytes,
            min_free_bytes=self.min_free_bytes,
        )
