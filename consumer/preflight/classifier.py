"""Checks that the classifier loads with all its models, and runs a sample job.

The service's own runner loads it in one slot, so that environment, pins and libraries are the same. If the
classifier does not load, the error message is split into one finding per refused model.
"""

from __future__ import annotations

from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.job import ErrorCode, Outcome, Succeeded, Unsuccessful
from consumer.preflight.context import Site, in_daemon_thread
from consumer.preflight.finding import Finding, blamed, failure, ok, refused, skipped, warning
from consumer.runners.fork_server import SHARED_REMEDY, ForkServer
from consumer.runners.programs import own_python
from consumer.runners.warm_runner import OWN_CLASSIFIER
from consumer.service.dry_run import NULL, NULL_REMEDY, one_slot, run_body

#: The classifier's `preload` prints this before each model, which shows the model that hangs.
LOADING = "loading "
TRACEBACK = "Traceback (most recent call last):"
#: A share of a job's time limit. A sample that takes longer may time out on a busy machine.
LONG = 0.5

#: The exception of a classifier that does not load -> the remedy.
IMPORT_REMEDIES = {
    "ModuleNotFoundError": "start the service in the folder of the module, or set PYTHONPATH; "
    "or install what it imports",
    "ImportError": "install what it imports, in the version that it was written for",
    "SyntaxError": "correct the module; `python -m py_compile` shows where",
}
OTHER_REMEDY = "correct the module; `consumer try JOB.json` shows the whole traceback"

#: The error code of a failed sample -> the remedy.
SAMPLE_REMEDIES = {
    ErrorCode.INVALID_JOB: "name a file that holds one job, a JSON object, as --job",
    ErrorCode.CLASSIFIER_ERROR: "correct the job, or the classifier; `consumer try` shows more",
    ErrorCode.CRASHED: "correct the classifier; `consumer try` shows the end of its stderr",
    ErrorCode.TIMED_OUT: "raise job_timeout_s, or make the classifier faster",
    ErrorCode.OVER_LIMIT: "raise the setting that is named there, or make the classifier use, or print, less",
    ErrorCode.INVALID_OUTPUT: "make the classifier print JSON on one line after OUTPUT:",
}


async def load(site: Site) -> list[Finding]:
    """Start the runner and load the classifier. The runner stays open for the sample job."""
    try:
        site.runner = await site.opened.enter_async_context(one_slot(site.settings, site.environment))
    except ConfigurationError as error:
        return complaints(str(error), site.settings)
    runner = site.runner
    server = runner.server
    reopened = server.reopened if server else []
    findings = (_inherited(server) if server else []) + _hidden(site)
    return findings or [ok(runner.description), *(ok(f"each worker reopens {what}") for what in reopened)]


def _hidden(site: Site) -> list[Finding]:
    if not site.settings.classifier:
        return []
    found = own_python.hidden_files(own_python.user_path(site.environment))
    return [warning(detail, remedy) for detail, _, remedy in (words.partition("; ") for words in found)]


def _inherited(server: ForkServer) -> list[Finding]:
    """Warn about descriptors and threads that the import has left in the process that forks the workers."""
    found = [
        warning(f"importing it opened a descriptor that all workers share: {what}", SHARED_REMEDY)
        for what in server.shared
    ]
    if lost := server.threads_lost:
        threads = f"importing it has started {lost} threads, which warm workers do not inherit"
        remedy = "start threads when a job is computed and not by `import` or `preload()`"
        found.insert(0, warning(f"{threads}: the workers may wait for them for ever", remedy))
    return found


def complaints(text: str, settings: Settings) -> list[Finding]:
    """Turn the message of a classifier that could not be loaded into findings."""
    first, *lines = (line for line in text.splitlines() if line.strip())
    if settings.command or not lines:
        return [blamed(ConfigurationError(text))]
    target = settings.classifier or OWN_CLASSIFIER
    if TRACEBACK in lines:
        raised = lines[-1]
        remedy = IMPORT_REMEDIES.get(raised.partition(":")[0], OTHER_REMEDY)
        return [failure(f"{target} does not load: {raised}", remedy)]
    refusals = [line for line in lines if not line.startswith(LOADING)]
    if refusals:
        return [refused(line) for line in refusals]
    return [failure(f"{first.rstrip(':')}, {lines[-1]}", "load less, or faster, or find what it waits for")]


async def sample(site: Site) -> list[Finding]:
    """Run the sample job. Without one the check is skipped, because no classifier accepts `{}`."""
    path, runner = site.sample, site.runner
    if path is None or runner is None:
        return [skipped("no sample job given", "name a file with one: --job JOB.json")]
    try:
        body = await in_daemon_thread(path.read_bytes)
    except OSError as error:
        return [failure(f"{path} cannot be read: {error.strerror}", "name a file with one job as --job")]
    _, outcome = await run_body(body, site.settings, runner)
    return [judged(outcome, site.settings)]


def judged(outcome: Outcome, settings: Settings) -> Finding:
    """Judge the outcome of the sample."""
    if isinstance(outcome, Unsuccessful):
        last_words = outcome.stderr_tail.strip().splitlines()[-1:]
        detail = "\n".join((f"{outcome.code}: {outcome.message}", *(f"stderr: {line}" for line in last_words)))
        return failure(detail, SAMPLE_REMEDIES.get(outcome.code, OTHER_REMEDY))
    if not isinstance(outcome, Succeeded):
        return skipped("it was interrupted")
    took = f"succeeded in {outcome.run_s * 1000:,.0f} ms"
    if outcome.output == NULL:
        return warning(f"{took}, and its result is null", NULL_REMEDY)
    if outcome.run_s > LONG * settings.job_timeout_s:
        return warning(
            f"{took}, and a job may take {settings.job_timeout_s:g} s: on a busy machine it takes longer",
            SAMPLE_REMEDIES[ErrorCode.TIMED_OUT],
        )
    return ok(took)
