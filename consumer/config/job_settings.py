"""The settings for jobs: which are accepted, how long they may run, and how often they are tried."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from consumer.config.setting_group import SettingGroup, checked
from consumer.config.units import shown


def _no_pattern(text: str) -> str | None:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        return f"no regular expression: {error}"
    return None


class JobSettings(SettingGroup):
    """The accepted jobs, their time limits and their attempts."""

    job_timeout_s: float = Field(
        60.0,
        gt=0,
        le=86_400,
        description="time after which a running job is killed, up to 1d; a job's header `timeout-s` overrides it",
    )
    job_timeout_cap_s: float | None = Field(
        None,
        gt=0,
        le=86_400,
        description="longest run time that a job's header `timeout-s` may request; default: 10m, or job_timeout_s "
        "if that is longer or batch_size is above 1",
    )
    consumer_timeout_s: float = Field(
        1800.0,
        ge=0,
        description="consumer_timeout in RabbitMQ's configuration; it must exceed the time that any job may take; "
        "0: RabbitMQ has no such timeout",
    )
    reply_to_allowed: Annotated[str, checked(_no_pattern)] | None = Field(
        None,
        min_length=1,
        description="regular expression that the whole of a job's `reply_to` must match; not set: any queue "
        "except the service's own and RabbitMQ's",
    )
    max_attempts: int = Field(
        3,
        ge=1,
        le=50,
        description="number of attempts for a job that crashes, times out, exceeds a limit or gives no valid "
        "result, 1 to 50",
    )
    # Off: it costs RabbitMQ a channel per job, and a job may have effects besides its reply.
    drop_if_caller_gone: bool = Field(
        False,
        description="true: acknowledge a job without running it if its reply queue no longer exists; only for "
        "direct reply-to and server-named queues, which disappear with the caller",
    )
    max_body_bytes: int = Field(
        4 * 1024 * 1024,
        ge=2,
        le=128 * 1024 * 1024,
        description="size limit of a job's body, up to 128MiB; 4MiB hold about 200,000 samples of 20 digits",
    )

    @model_validator(mode="after")
    def _cap_is_above_default(self) -> Self:
        if self.job_timeout_cap_s is not None and self.job_timeout_cap_s < self.job_timeout_s:
            raise ValueError(
                f"job_timeout_cap_s ({shown('_s', self.job_timeout_cap_s)}) is less than job_timeout_s "
                f"({shown('_s', self.job_timeout_s)}); raise the cap or lower the time limit"
            )
        return self
