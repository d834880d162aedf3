"""Makes the environment of a classifier from an allow-list, so that no secret of the service reaches it.

Pure: takes the environment of the service and returns that of a classifier.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from consumer.config.settings import Settings
from consumer.config.sources import ENV_PREFIX
from consumer.job import Job

#: Variables that programs need to start, and those of the operator's locale. None of them carries a secret.
ALLOWED_VARIABLES = (
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONPATH",
    "TZ",
    "VIRTUAL_ENV",
)
#: Set to 1 unless the operator has set them: n processes with one thread per core are slower than with one thread.
THREAD_VARIABLES = (
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)

#: From 1.29 on, ONNX Runtime sends usage data to Microsoft from a thread. The import starts the thread, and a fork
#: does not inherit it.
QUIET = {"ORT_DISABLE_TELEMETRY": "1"}
#: Python buffers 8 KiB of output to a pipe: LOG: and PROGRESS: lines would arrive only at the end, or never if the
#: program is killed. Without the buffer a print costs two system calls, some microseconds.
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}


def base_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Make the part of a classifier's environment that is the same for every job."""
    allowed = (*ALLOWED_VARIABLES, *settings.pass_environment)
    passed = {name: environment[name] for name in allowed if name in environment}
    return {
        "PATH": os.defpath,
        **QUIET,
        **passed,
        **{name: environment.get(name, value) for name, value in UNBUFFERED.items()},
        **{name: environment.get(name, "1") for name in THREAD_VARIABLES},
        **_models(settings),
    }


def _models(settings: Settings) -> dict[str, str]:
    """Make the variables about models, with absolute paths, because a program runs in its job's folder."""
    pins = settings.trusted_models
    return {
        ENV_PREFIX + "MODELS_DIR": str(settings.models_dir.absolute()),
        ENV_PREFIX + "MAX_MODEL_BYTES": str(settings.max_model_bytes),
        **({ENV_PREFIX + "TRUSTED_MODELS": str(pins.absolute())} if pins else {}),
    }


def batch_environment(folder: Path) -> dict[str, str | None]:
    """Make the variables of a batch. None unsets a variable that an earlier single job has set."""
    return {"HOME": str(folder), "TMPDIR": str(folder), "JOB_ID": None, "JOB_ATTEMPT": None, "TRACEPARENT": None}


def job_environment(job: Job, folder: Path) -> dict[str, str]:
    """Make the variables of one job, to be added to `base_environment`.

    HOME and TMPDIR are the job's folder, which is removed after the job.
    """
    trace = {"TRACEPARENT": job.request.traceparent} if job.request.traceparent else {}
    return {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "JOB_ID": job.request.id,
        "JOB_ATTEMPT": str(job.request.attempt),
        **trace,
    }
