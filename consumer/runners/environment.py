"""What a classifier gets for an environment: an allow-list, so that no secret of ours reaches it.

Pure: the environment that we were started with goes in, a classifier's comes out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from consumer.config.loader import ENV_PREFIX
from consumer.config.settings import Settings
from consumer.job import Job

#: What programs need to start and to speak the operator's language; none of these carries a secret.
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
#: A pool of n processes that each start a thread per core is slower than one thread each: 1 unless it is set.
THREAD_VARIABLES = (
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)


#: From 1.29 on ONNX Runtime reports its use to its maker, by a thread that starts when it is imported and that a
#: fork does not inherit.
QUIET = {"ORT_DISABLE_TELEMETRY": "1"}
#: On a pipe Python holds back 8 KiB of what is printed: LOG: and PROGRESS: lines would arrive at the end, or never
#: if the program is killed. Without the buffer a print costs two system calls, some microseconds.
UNBUFFERED = {"PYTHONUNBUFFERED": "1"}


def base_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Make the part of a classifier's environment that is the same for every job."""
    allowed = (*ALLOWED_VARIABLES, *settings.pass_environment)
    passed = {name: environment[name] for name in allowed if name in environment}
    if settings.classifier:  # the function may live in the folder that the service was started in
        passed["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path.cwd()), passed.get("PYTHONPATH"))))
    return {
        "PATH": os.defpath,
        **QUIET,
        **passed,
        **{name: environment.get(name, value) for name, value in UNBUFFERED.items()},
        **{name: environment.get(name, "1") for name in THREAD_VARIABLES},
        **_models(settings),
    }


def _models(settings: Settings) -> dict[str, str]:
    """Absolute paths: a program runs in its job's folder."""
    pins = settings.trusted_models
    return {
        ENV_PREFIX + "MODELS_DIR": str(settings.models_dir.absolute()),
        ENV_PREFIX + "MAX_MODEL_BYTES": str(settings.max_model_bytes),
        **({ENV_PREFIX + "TRUSTED_MODELS": str(pins.absolute())} if pins else {}),
    }


def batch_environment(folder: Path) -> dict[str, str | None]:
    """Make the part that several jobs at once share; None for what each would have, and the job before had."""
    return {"HOME": str(folder), "TMPDIR": str(folder), "JOB_ID": None, "JOB_ATTEMPT": None, "TRACEPARENT": None}


def job_environment(job: Job, folder: Path) -> dict[str, str]:
    """Make the part that is this job's own. What a classifier writes at home or to TMPDIR goes with the job."""
    trace = {"TRACEPARENT": job.request.traceparent} if job.request.traceparent else {}
    return {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "JOB_ID": job.request.id,
        "JOB_ATTEMPT": str(job.request.attempt),
        **trace,
    }
