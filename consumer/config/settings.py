"""All settings of an operator: read once at the start (loader.py), then frozen.

The groups hold the settings. This module adds rules that concern several groups, and values derived from them.
"""

from __future__ import annotations

from functools import cached_property
from typing import Self

from pydantic import model_validator

from consumer.config.classifier_settings import ClassifierSettings
from consumer.config.job_settings import JobSettings
from consumer.config.limit_settings import LimitSettings
from consumer.config.operation_settings import OperationSettings
from consumer.config.rabbitmq_settings import RabbitmqSettings
from consumer.config.setting_group import SettingGroup
from consumer.wire.read import JobRules
from consumer.wire.topology import Topology

#: Default of job_timeout_cap_s: most services that set no cap have jobs of seconds.
LEAST_TIMEOUT_CAP_S = 600.0
#: The sum of all timeouts after a job's time limit: to kill it, to read its output, to confirm its reply.
SETTLING_S = 60.0
#: How many time limits may pass until a job in a batch is settled, if one job of each batch hangs
#: (`longest_hold_s`).
RUNS_OF_A_BATCH = 4


# pydantic collects fields from the last base to the first, so RabbitMQ's come first in `--help`.
class Settings(OperationSettings, LimitSettings, JobSettings, ClassifierSettings, RabbitmqSettings):
    """Everything an operator can choose. Times are in seconds, sizes in bytes."""

    @model_validator(mode="after")
    def _sandbox_is_for_programs(self) -> Self:
        if self.sandbox and not self.command:
            raise ValueError(
                "`sandbox` needs a program in `command`, and none is set; run a function as "
                '["python3", "-m", "classifier", "--call", "package.module:function"]'
            )
        return self

    @model_validator(mode="after")
    def _rabbitmq_waits_longer(self) -> Self:
        """Compare with the setting, because RabbitMQ does not expose its own value.

        RabbitMQ would redeliver a job that is settled later.
        """
        if 0 < self.consumer_timeout_s <= self.longest_hold_s:
            times = f" {RUNS_OF_A_BATCH} times (batch_size)" if self.needs_batches else ""
            raise ValueError(
                f"a job may take{times} {self.longest_timeout_s:g} s and {SETTLING_S:g} s to settle, but after "
                f"{self.consumer_timeout_s:g} s (consumer_timeout_s) RabbitMQ delivers it again; set "
                "job_timeout_cap_s lower, or raise consumer_timeout in RabbitMQ's configuration and "
                "consumer_timeout_s here"
            )
        return self

    @property
    def topology(self) -> Topology:
        """The names of queues and exchanges in RabbitMQ."""
        return Topology(self.prefix, self.max_attempts)

    @cached_property  # each job asks for them
    def job_rules(self) -> JobRules:
        """The rules that a message must meet to be a job."""
        return JobRules(
            max_body_bytes=self.max_body_bytes,
            timeout_s=self.job_timeout_s,
            longest_timeout_s=self.longest_timeout_s,
            reply_to_allowed=self.reply_to_allowed,
        )

    @property
    def longest_timeout_s(self) -> float:
        """The longest run time any job gets, in seconds."""
        least = 0.0 if self.needs_batches else LEAST_TIMEOUT_CAP_S  # jobs of a batch are short
        return self.job_timeout_cap_s or max(least, self.job_timeout_s)

    @property
    def longest_hold_s(self) -> float:
        """Seconds that RabbitMQ must wait for a job to be settled.

        With batches, these are four time limits. If one job of each batch hangs, a job waits for the batch before
        it and for a second run of that batch's hanging job. Then its own batch runs, and then the job alone. If
        more jobs hang, RabbitMQ may redeliver jobs; they are answered with the cached outcome.
        """
        runs = RUNS_OF_A_BATCH if self.needs_batches else 1
        return runs * self.longest_timeout_s + SETTLING_S

    @property
    def longest_batch_s(self) -> float:
        """The longest time limit with which a job may run in a batch; a job with a longer one runs alone."""
        if self.needs_batches or not self.consumer_timeout_s:
            return self.longest_timeout_s
        return min(self.longest_timeout_s, (self.consumer_timeout_s - SETTLING_S) / RUNS_OF_A_BATCH)


#: In the order of the fields, for lists of all settings.
GROUPS: tuple[type[SettingGroup], ...] = (
    RabbitmqSettings,
    ClassifierSettings,
    JobSettings,
    LimitSettings,
    OperationSettings,
)
