"""What users would pick instead, each set as a careful user would: how, and why so, is told where it is set.

See also celery_app.py, faststream_app.py and amqp_consume_job.py, which are what runs in their processes.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from importlib.util import find_spec
from typing import Any

from amqp_socket import ID_PLACEHOLDER
from contender import HERE, Contender, Site, plain
from inside import FUNCTION_VARIABLE, JOBS_QUEUE, URL_VARIABLE
from pamqp.commands import Basic
from support.processes.commands import BIN
from workload import Job


def _celery_task(job: Job, site: Site) -> tuple[object, Basic.Properties]:
    """Celery's task message, protocol 2, as `classify.delay(job)` sends it."""
    headers: dict[str, Any] = {
        "lang": "py",
        "task": "classify",
        "id": ID_PLACEHOLDER,
        "root_id": ID_PLACEHOLDER,
        "parent_id": None,
        "group": None,
        "group_index": None,
        "shadow": None,
        "eta": None,
        "expires": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "({'signal': [...]},)",
        "kwargsrepr": "{}",
        "origin": "bench",
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return [[job], {}, embed], Basic.Properties(
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers,
        delivery_mode=2,
        priority=0,
        correlation_id=ID_PLACEHOLDER,
        reply_to=site.replies,
    )


def _in_the_body(job: Job, site: Site) -> tuple[object, Basic.Properties]:
    body = {"id": ID_PLACEHOLDER, "reply_to": site.replies, "job": job}
    return body, Basic.Properties(content_type="application/json", delivery_mode=2)


def _peer_settings(site: Site) -> dict[str, str]:
    return {URL_VARIABLE: site.url, FUNCTION_VARIABLE: site.workload.function}


def _celery_command(site: Site) -> list[str]:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    return [str(BIN / "celery"), "-A", "celery_app", "worker", "-c", str(site.slots), *quiet]


def _faststream_command(site: Site) -> list[str]:
    return [str(BIN / "faststream"), "run", "faststream_app:app", "--workers", str(site.slots)]


def _amqp_consume_command(site: Site) -> list[str]:
    """One amqp-consume for each slot, as it runs one program at a time."""
    program = [sys.executable, str(HERE / "amqp_consume_job.py")]
    consume = ["amqp-consume", f"--url={site.url}", f"--queue={JOBS_QUEUE}", "--prefetch-count=1"]
    return ["sh", "-c", f"{shlex.join([*consume, *program])} & " * site.slots + "wait"]


def _not_installed(module: str) -> str | None:
    return None if find_spec(module) else f"{module} is not installed: it comes with the extra `bench`"


def _no_amqp_tools() -> str | None:
    found = shutil.which("amqp-consume") and shutil.which("amqp-publish")
    return None if found else "amqp-consume is not installed: it comes with Debian's amqp-tools"


CELERY = Contender(
    key="celery",
    title="Celery prefork",
    missing=lambda _workload: _not_installed("celery"),
    command=_celery_command,
    settings=_peer_settings,
    envelope=_celery_task,
    label=lambda reply: str(reply["result"]["label"]),
)
FASTSTREAM = Contender(
    key="faststream",
    title="FastStream",
    missing=lambda _workload: _not_installed("faststream"),
    command=_faststream_command,
    settings=_peer_settings,
    envelope=plain,
    label=lambda reply: str(reply["label"]),
)
AMQP_CONSUME = Contender(
    key="amqp-consume",
    title="amqp-consume, program per job",
    missing=lambda _workload: _no_amqp_tools(),
    command=_amqp_consume_command,
    settings=_peer_settings,
    envelope=_in_the_body,
    label=lambda reply: str(reply["result"]["label"]),
    slow=True,
)
