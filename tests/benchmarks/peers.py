"""What users would pick instead, each with its defaults and with what its own guide recommends for short tasks.

See celery_app.py, faststream_app.py, amqp_consume_job.py and floor_consumer.py for what runs in their processes.
docs/speed.md tells each setting and why.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from importlib.util import find_spec
from typing import Any

from amqp_socket import ID_PLACEHOLDER
from contender import FEW_IN_FLIGHT, HERE, Contender, Site, plain
from inside import FUNCTION_VARIABLE, JOBS_QUEUE, OPTIONS_VARIABLE, URL_VARIABLE
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


def _settings(site: Site, **options: object) -> dict[str, str]:
    return {
        URL_VARIABLE: site.url,
        FUNCTION_VARIABLE: site.workload.function,
        OPTIONS_VARIABLE: json.dumps(options),
    }


def _not_installed(module: str) -> str | None:
    return None if find_spec(module) else f"{module} is not installed: it comes with the extra `bench`"


def _celery(key: str, title: str, *arguments: str, **options: object) -> Contender:
    worker = [str(BIN / "celery"), "-A", "celery_app", "worker", *arguments]
    return Contender(
        key=key,
        title=title,
        missing=lambda _workload: _not_installed("celery"),
        command=lambda site: [*worker, "-c", str(site.slots)],
        settings=lambda site: _settings(site, **options),
        envelope=_celery_task,
        label=lambda reply: str(reply["result"]["label"]),
    )


def _faststream(key: str, title: str, *, prefetch: int | None, quiet: bool) -> Contender:
    return Contender(
        key=key,
        title=title,
        missing=lambda _workload: _not_installed("faststream"),
        command=lambda site: [
            str(BIN / "faststream"),
            "run",
            "faststream_app:app",
            "--workers",
            str(site.slots),
        ],
        settings=lambda site: _settings(site, prefetch=prefetch, quiet=quiet),
        envelope=plain,
        label=lambda reply: str(reply["label"]),
    )


def _amqp_consume_command(site: Site) -> list[str]:
    """One amqp-consume for each slot, as it runs one program at a time."""
    program = [sys.executable, str(HERE / "amqp_consume_job.py")]
    consume = ["amqp-consume", f"--url={site.url}", f"--queue={JOBS_QUEUE}", "--prefetch-count=1"]
    return ["sh", "-c", f"{shlex.join([*consume, *program])} & " * site.slots + "wait"]


def _no_amqp_tools() -> str | None:
    found = shutil.which("amqp-consume") and shutil.which("amqp-publish")
    return None if found else "amqp-consume is not installed: it comes with Debian's amqp-tools"


#: Workers that do not talk with each other, as there is one: Celery is faster so.
_ALONE = ("--without-gossip", "--without-mingle", "--without-heartbeat")

CELERY = (
    _celery("celery", "Celery, defaults (early acks, prefetch 4)"),
    _celery("celery-64", "Celery, early acks, prefetch 64", *_ALONE, worker_prefetch_multiplier=64),
    _celery("celery-late", "Celery, late acks, prefetch 4", *_ALONE, task_acks_late=True),
    _celery(
        "celery-late-64",
        "Celery, late acks, prefetch 64",
        *_ALONE,
        task_acks_late=True,
        worker_prefetch_multiplier=64,
    ),
)
FASTSTREAM = (
    _faststream("faststream", "FastStream, defaults (prefetch unlimited)", prefetch=None, quiet=False),
    _faststream("faststream-16", "FastStream, prefetch 16, no log", prefetch=16, quiet=True),
    _faststream("faststream-quiet", "FastStream, prefetch unlimited, no log", prefetch=None, quiet=True),
)
FLOOR = Contender(
    key="floor",
    title="floor: the contract's hot path alone",
    missing=lambda _workload: None,
    command=lambda site: [
        sys.executable,
        str(HERE / "floor_consumer.py"),
        site.url,
        JOBS_QUEUE,
        str(site.slots),
    ],
    settings=_settings,
    envelope=plain,
    label=lambda reply: str(reply["label"]),
)
AMQP_CONSUME = Contender(
    key="amqp-consume",
    title="amqp-consume, program per job",
    missing=lambda _workload: _no_amqp_tools(),
    command=_amqp_consume_command,
    settings=_settings,
    envelope=_in_the_body,
    label=lambda reply: str(reply["result"]["label"]),
    in_flight=FEW_IN_FLIGHT,
)
