"""What runs the jobs: a program or a function, in how many slots, with which environment and models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from consumer.config import function_name, passed_variables
from consumer.config.cpu_count import usable_cpus
from consumer.config.setting_group import AUTO, FromJson, SettingGroup, checked, lower

#: The most jobs of a batch. Their order fits into a pipe, except with very long ids (LONGEST_ORDER in
#: warm_runner.py).
MOST_TOGETHER = 128


def _kind(value: object) -> str:
    return AUTO if value == AUTO else "number"


#: `auto` or a number. With the discriminator, a wrong value has one error message and not one for each form.
BatchSize: TypeAlias = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[int, Field(ge=1, le=MOST_TOGETHER), Tag("number")],
    Discriminator(_kind),
    BeforeValidator(lower),
]


class ClassifierSettings(SettingGroup):
    """The classifier and its processes."""

    pool_size: int = Field(
        default_factory=usable_cpus,
        ge=1,
        le=1024,
        description="number of jobs that run at once, 1 to 1024; also the prefetch; default: the number of CPUs "
        "that this process may use",
    )
    command: FromJson[tuple[str, ...]] | None = Field(
        None,
        min_length=1,
        description='program and its arguments as a JSON list, e.g. ["python3", "classify.py"]; the path of the '
        "job file is appended",
    )
    classifier: Annotated[str, checked(function_name.complaint)] | None = Field(
        None,
        description="function to call instead of a program, package.module:function; it receives the job as a "
        "dict; if `command` is not set either: the models of `classifier train` in models_dir",
    )
    jobs_per_worker: int = Field(
        1000,
        ge=1,
        description="number of jobs that a warm worker runs before a new fork replaces it; 1: a new process for "
        "each job",
    )
    batch_size: BatchSize = Field(
        "auto",
        description=f"largest number of jobs that a warm worker receives at once, 1 to {MOST_TOGETHER}; above 1 "
        "the function must accept batches; auto: 1 for a function that accepts no batches, otherwise chosen by "
        "the measured run times",
    )
    look_ahead: bool = Field(
        True,
        description="true: while all slots of all consumers are busy and jobs are short (below 20 ms), fetch "
        "more jobs than there are slots, so that a slot starts its next job without waiting for RabbitMQ",
    )
    max_worker_growth_bytes: int = Field(
        256 * 1024 * 1024,
        ge=1024 * 1024,
        description="replace a warm worker whose memory has grown by this much since its fork; at least 1MiB",
    )
    pass_environment: FromJson[tuple[Annotated[str, checked(passed_variables.complaint)], ...]] = Field(
        (),
        description="names of environment variables to pass to classifiers, as a JSON list, e.g. "
        '["MY_REGION"]; all others are removed, except PATH, LANG, TZ and a few more',
    )
    models_dir: Path = Field(
        Path("models"),
        description="folder of the model files; the classifier receives it as CONSUMER_MODELS_DIR",
    )
    trusted_models: Path | None = Field(
        None,
        description="file outside of models_dir, with the SHA-256 of each model that may be loaded; default: "
        "`<models_dir>.trusted`",
    )
    max_model_bytes: int = Field(
        512 * 1024 * 1024,
        ge=1024,
        description="size limit of a model file, at least 1KiB; loading a model takes twice its size in memory",
    )

    @model_validator(mode="after")
    def _one_classifier(self) -> Self:
        if self.command and self.classifier:
            raise ValueError("`command` and `classifier` are both set; remove one of them")
        return self

    @model_validator(mode="after")
    def _batches_are_for_workers(self) -> Self:
        if self.needs_batches and self.command:
            raise ValueError(
                "`batch_size` needs a function in warm workers; a program of `command` takes one job at a "
                "time; set batch_size to 1, or name a function as `classifier`"
            )
        if self.batch_size != "auto" and self.batch_size > self.jobs_per_worker:
            raise ValueError(
                f"batch_size ({self.batch_size}) is more than jobs_per_worker ({self.jobs_per_worker}), and the "
                "jobs of a batch share a worker; set batch_size lower, or raise jobs_per_worker"
            )
        return self

    @property
    def needs_batches(self) -> bool:
        """Whether the operator asked for batches: then the function must accept them."""
        return self.batch_size not in ("auto", 1)

    @property
    def most_together(self) -> int:
        """The most jobs that one call may receive, if the function accepts batches. They share a worker."""
        most = MOST_TOGETHER if self.batch_size == "auto" else self.batch_size
        return min(most, self.jobs_per_worker)
