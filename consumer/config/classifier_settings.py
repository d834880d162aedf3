"""What runs the jobs: a program or a function, in how many slots, with which environment and models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from consumer.config import function_name, passed_variables
from consumer.config.cpu_count import usable_cpus
from consumer.config.setting_group import FromJson, SettingGroup, checked


class ClassifierSettings(SettingGroup):
    """The classifier and its processes."""

    pool_size: int = Field(
        default_factory=usable_cpus,
        ge=1,
        le=1024,
        description="1 to 1024 jobs at once, also the prefetch where batch_size is 1; default: the CPUs this "
        "process may use",
    )
    command: FromJson[tuple[str, ...]] | None = Field(
        None,
        min_length=1,
        description='a JSON list, the program and its arguments, e.g. ["python3", "classify.py"]; '
        "the job's path is appended",
    )
    classifier: Annotated[str, checked(function_name.complaint)] | None = Field(
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
    pass_environment: FromJson[tuple[Annotated[str, checked(passed_variables.complaint)], ...]] = Field(
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

    @model_validator(mode="after")
    def _one_classifier(self) -> Self:
        if self.command and self.classifier:
            raise ValueError("`command` and `classifier` are both set; remove one of them")
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

    @property
    def prefetch(self) -> int:
        """How many jobs are held at once.

        In batches it is one batch more than can run: it waits while those that have run are settled and RabbitMQ
        sends others. Without it batches are half as large, for a slot takes what is there (bench_batches.py).
        """
        return self.pool_size if self.batch_size == 1 else (self.pool_size + 1) * self.batch_size
