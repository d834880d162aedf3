"""Who is compared, and what is each one's own: its command, its environment, its envelope, its answer.

All get the same jobs, the same function by the same import, the same number of slots, one thread in numerical
libraries, and a quorum queue of persistent messages. A contender that cannot run here says why instead.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from amqp_socket import ID_PLACEHOLDER, encode
from harness import BIN
from inside import FUNCTION_VARIABLE, JOBS_QUEUE, ONE_THREAD, URL_VARIABLE
from pamqp.commands import Basic
from workload import Job, Workload

from consumer.settings import Settings
from consumer.topology import Arguments, Topology

_HERE = Path(__file__).parent
_OURS = Topology("classifier", max_attempts=3)
_OUR_JOBS = next(queue for queue in _OURS.queues() if queue.name == _OURS.jobs)


@dataclass(frozen=True)
class Site:
    """Where a contender works: RabbitMQ's URL, the queue of the replies, and how many jobs at once."""

    workload: Workload
    url: str
    replies: str
    slots: int


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One row of the table.

    Attributes:
        key: its name in results; unique.
        title: its name for people.
        missing: why it cannot run here; None if it can.
        command: what to start for a site.
        settings: its environment, beside what all get.
        envelope: body and properties of a job's message.
        label: the label in a reply; raises KeyError where the reply is not a success.
        slow: starts a program for each job, so a handful of jobs must do.
    """

    key: str
    title: str
    missing: Callable[[Workload], str | None]
    command: Callable[[Site], list[str]]
    settings: Callable[[Site], Mapping[str, str]]
    envelope: Callable[[Job, Site], tuple[object, Basic.Properties]]
    label: Callable[[Any], str]
    queue: str = JOBS_QUEUE
    queue_arguments: Arguments = field(default_factory=lambda: {"x-queue-type": "quorum"})
    slow: bool = False

    def environment(self, site: Site) -> dict[str, str]:
        """Ours without settings of a consumer, one thread each, and the contender's own."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CONSUMER_")}
        return {
            **inherited,
            **ONE_THREAD,
            "PYTHONPATH": str(_HERE),
            "CONSUMER_MODELS_DIR": str(site.workload.pickle),
            **self.settings(site),
        }

    def message(self, job: Job, site: Site) -> bytes:
        """Encode a job's message; its id is a placeholder."""
        body, properties = self.envelope(job, site)
        return encode(self.queue, json.dumps(body).encode(), properties)


def for_workload(workload: Workload) -> list[Contender]:
    """All rows that a workload has, in the order of the table, without the in-process loop."""
    onnx = [] if workload.onnx is None else [_ours_with_onnx(fresh=True), _ours_with_onnx(fresh=False)]
    return [
        _AMQP_CONSUME,
        _OURS_EXEC,
        CELERY,
        FASTSTREAM,
        _ours("ours-fresh", "ours, fresh worker per job", jobs_per_worker="1"),
        OURS,
        *onnx,
    ]


def _ours(key: str, title: str, *, onnx: bool = False, **settings: str) -> Contender:
    return Contender(
        key=key,
        title=title,
        missing=lambda workload: _no_warm_workers() or (_no_onnx(workload) if onnx else None),
        command=lambda _site: [str(BIN / "consumer"), "run"],
        settings=lambda site: _our_settings(site, onnx=onnx, **settings),
        envelope=_plain,
        label=lambda reply: str(reply["output"]["label"]),
        queue=_OURS.jobs,
        queue_arguments=_OUR_JOBS.arguments,
    )


def _ours_with_onnx(*, fresh: bool) -> Contender:
    if fresh:
        return _ours("ours-fresh-onnx", "ours, fresh worker, ONNX", onnx=True, jobs_per_worker="1")
    return _ours("ours-onnx", "ours, ONNX", onnx=True)


def _no_warm_workers() -> str | None:
    if "jobs_per_worker" in Settings.model_fields:
        return None
    return "this version has no warm workers (no setting jobs_per_worker)"


def _no_onnx(workload: Workload) -> str | None:
    return workload.onnx if isinstance(workload.onnx, str) else None


def _our_settings(site: Site, *, onnx: bool, **settings: str) -> dict[str, str]:
    own = site.workload.own_classifier
    chosen = {
        "amqp_url": site.url,
        "pool_size": str(site.slots),
        "models_dir": str(site.workload.onnx if onnx else site.workload.pickle),
        **({} if own or "command" in settings else {"classifier": site.workload.function}),
        **settings,
    }
    return {f"CONSUMER_{name.upper()}": value for name, value in chosen.items()}


def _exec_settings(site: Site) -> dict[str, str]:
    call = [] if site.workload.own_classifier else ["--call", site.workload.function]
    return _our_settings(site, onnx=False, command=json.dumps([sys.executable, "-m", "classifier", *call]))


def _plain(job: Job, site: Site) -> tuple[object, Basic.Properties]:
    return job, Basic.Properties(
        content_type="application/json",
        delivery_mode=2,
        correlation_id=ID_PLACEHOLDER,
        message_id=ID_PLACEHOLDER,
        reply_to=site.replies,
    )


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
    command = [str(BIN / "faststream"), "run", "faststream_app:app", "--log-level", "warning"]
    return [*command, "--workers", str(site.slots)]


def _amqp_consume_command(site: Site) -> list[str]:
    """One amqp-consume for each slot, as it runs one program at a time."""
    program = [sys.executable, str(_HERE / "amqp_consume_job.py")]
    consume = ["amqp-consume", f"--url={site.url}", f"--queue={JOBS_QUEUE}", "--prefetch-count=1"]
    return ["sh", "-c", f"{shlex.join([*consume, *program])} & " * site.slots + "wait"]


def _not_installed(module: str) -> str | None:
    return None if find_spec(module) else f"{module} is not installed: it comes with the extra `bench`"


def _no_amqp_tools() -> str | None:
    found = shutil.which("amqp-consume") and shutil.which("amqp-publish")
    return None if found else "amqp-consume is not installed: it comes with Debian's amqp-tools"


OURS = _ours("ours", "ours")
_OURS_EXEC = Contender(
    key="ours-exec",
    title="ours, program per job",
    missing=lambda _workload: None,
    command=lambda _site: [str(BIN / "consumer"), "run"],
    settings=_exec_settings,
    envelope=_plain,
    label=lambda reply: str(reply["output"]["label"]),
    queue=_OURS.jobs,
    queue_arguments=_OUR_JOBS.arguments,
    slow=True,
)
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
    envelope=_plain,
    label=lambda reply: str(reply["label"]),
)
_AMQP_CONSUME = Contender(
    key="amqp-consume",
    title="amqp-consume, program per job",
    missing=lambda _workload: _no_amqp_tools(),
    command=_amqp_consume_command,
    settings=_peer_settings,
    envelope=_in_the_body,
    label=lambda reply: str(reply["result"]["label"]),
    slow=True,
)
