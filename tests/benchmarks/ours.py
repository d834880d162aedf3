"""Our service as a contender: program per job, fresh worker per job, its defaults, batches; pickle and ONNX."""

from __future__ import annotations

import json
import sys

from contender import Contender, Site, plain
from support.processes.commands import BIN
from workload import Workload

from consumer.wire.topology import Topology

_TOPOLOGY = Topology("classifier", max_attempts=3)
_JOBS = next(queue for queue in _TOPOLOGY.queues() if queue.name == _TOPOLOGY.jobs)


def warm(key: str, title: str, *, onnx: bool = False, **settings: str) -> Contender:
    """With warm workers, which are what the service has by default."""
    return Contender(
        key=key,
        title=title,
        missing=lambda workload: _no_onnx(workload) if onnx else None,
        command=_command,
        settings=lambda site: _settings(site, onnx=onnx, **settings),
        envelope=plain,
        label=_label,
        queue=_JOBS.name,
        queue_arguments=_JOBS.arguments,
    )


def _no_onnx(workload: Workload) -> str | None:
    return workload.onnx if isinstance(workload.onnx, str) else None


def _command(_site: Site) -> list[str]:
    return [str(BIN / "consumer"), "run"]


def _label(reply: dict[str, dict[str, str]]) -> str:
    return reply["output"]["label"]


def _settings(site: Site, *, onnx: bool = False, **settings: str) -> dict[str, str]:
    chosen = {
        "amqp_url": site.url,
        "pool_size": str(site.slots),
        "models_dir": str(site.workload.onnx if onnx else site.workload.pickle),
        **settings,
    }
    if not site.workload.own_classifier and "command" not in settings:
        chosen["classifier"] = site.workload.function
    return {f"CONSUMER_{name.upper()}": value for name, value in chosen.items()}


def _program(site: Site) -> dict[str, str]:
    call = [] if site.workload.own_classifier else ["--call", site.workload.function]
    return _settings(site, command=json.dumps([sys.executable, "-m", "classifier", *call]))


OURS = warm("ours", "ours")
BATCHES = warm("ours-batches", "ours, batches of 16", batch_size="16")
FRESH = warm("ours-fresh", "ours, fresh worker per job", jobs_per_worker="1")
OURS_ONNX = warm("ours-onnx", "ours, ONNX", onnx=True)
FRESH_ONNX = warm("ours-fresh-onnx", "ours, fresh worker per job, ONNX", onnx=True, jobs_per_worker="1")
EXEC = Contender(
    key="ours-exec",
    title="ours, program per job",
    missing=lambda _workload: None,
    command=_command,
    settings=_program,
    envelope=plain,
    label=_label,
    queue=_JOBS.name,
    queue_arguments=_JOBS.arguments,
    slow=True,
)
