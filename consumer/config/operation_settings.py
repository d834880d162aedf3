"""The settings for operation: shutdown, ports, metrics, logs and traces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from consumer.config.amqp_url import check_host
from consumer.config.setting_group import SettingGroup, checked, lower
from consumer.config.sources import LogFormat, LogLevel

LogJobs = Literal["auto", "all", "failed"]


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class OperationSettings(SettingGroup):
    """Shutdown, metrics, health, the gateway, logs and traces."""

    drain_grace_s: float = Field(
        30.0,
        ge=0,
        le=86_400,
        description="time that running jobs get to finish after SIGTERM, up to 1d; then they are requeued",
    )
    statsd_host: Annotated[str, checked(check_host)] | None = Field(
        None, min_length=1, description="statsd's host name; not set: no metrics are sent"
    )
    statsd_port: int = Field(8125, ge=1, le=65535, description="statsd's UDP port, 1 to 65535")
    http_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="TCP port (1 to 65535) of /live, /ready and /metrics; 0: a free port, which is logged; "
        "not set: there is no HTTP server",
    )
    # Loopback: the pages are no secret, but only the operator decides to serve them to other machines.
    http_host: str = Field(
        "127.0.0.1", min_length=1, description="address that http_port listens on; 0.0.0.0: all addresses"
    )
    # Loopback, as above: for this machine, or for a reverse proxy that has TLS.
    gateway_host: str = Field(
        "127.0.0.1", min_length=1, description="address that `consumer gateway` listens on; 0.0.0.0: all addresses"
    )
    gateway_port: int = Field(
        8080,
        ge=0,
        le=65535,
        description="TCP port (1 to 65535) of `consumer gateway`; 0: a free port, which is logged",
    )
    gateway_token_file: Path | None = Field(
        None,
        description="file of bearer tokens, one per line; HTTP requests must present one of them; not set: "
        "anyone who can reach the port may submit jobs",
    )
    log_level: Annotated[LogLevel, BeforeValidator(_upper)] = Field(
        "INFO", description="least severe level to log: DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Annotated[LogFormat, BeforeValidator(lower)] = Field(
        "text", description="text for people, or json with one object per line"
    )
    log_jobs: Annotated[LogJobs, BeforeValidator(lower)] = Field(
        "auto",
        description="which jobs are logged at their end: all; failed: jobs without a result; auto: these, and at "
        "most 10 successful jobs a second on average; a summary is logged each minute",
    )
    # Off: it needs the extra `otel` and a collector.
    tracing: bool = Field(
        False,
        description="true: send OpenTelemetry spans of each job to the collector that the OTEL_* variables "
        "name; needs the extra `otel`",
    )

    @property
    def reports_metrics(self) -> bool:
        """Whether metrics are sent or served. If not, the service does not measure."""
        return self.statsd_host is not None or self.http_port is not None
