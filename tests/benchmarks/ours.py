"""Our service as a contender. Every row has our defaults, but for what its title names.

Whether jobs are handed over in batches is up to the classifier: rows with `one` run a function without a form for
many, so that there is one call per job.
"""

from __future__ import annotations

import json
import sys

from contender import FEW_IN_FLIGHT, Contender, Site, plain
from load import IN_FLIGHT
from support.processes.commands import BIN
from workload import OWN_CLASSIFIER, Workload

from consumer.wire.topology import Topology

_TOPOLOGY = Topology("classifier", max_attempts=3)
_JOBS = next(queue for queue in _TOPOLOGY.queues() if queue.name == _TOPOLOGY.jobs)


def row(
    key: str,
    title: str,
    *,
    onnx: bool = False,
    one: bool = False,
    program: bool = False,
    **settings: str,
) -> Contender:
    """Our service with these settings beside its defaults."""

    def of_site(site: Site) -> dict[str, str]:
        function = site.workload.one if one else site.workload.function
        chosen = {
            "amqp_url": site.url,
            "pool_size": str(site.slots),
            "models_dir": str(site.workload.onnx if onnx else site.workload.pickle),
            **settings,
        }
        call = [] if function == OWN_CLASSIFIER else ["--call", function]
        if program:
            chosen["command"] = json.dumps([sys.executable, "-m", "classifier", *call])
        elif call:
            chosen["classifier"] = function
        return {f"CONSUMER_{name.upper()}": value for name, value in chosen.items()}

    return Contender(
        key=key,
        title=title,
        missing=lambda workload: _no_onnx(workload) if onnx else None,
        command=lambda _site: [str(BIN / "consumer"), "run"],
        settings=of_site,
        envelope=plain,
        label=lambda reply: str(reply["output"]["label"]),
        queue=_JOBS.name,
        queue_arguments=_JOBS.arguments,
        in_flight=FEW_IN_FLIGHT if program else IN_FLIGHT,
    )


def _no_onnx(workload: Workload) -> str | None:
    return workload.onnx if isinstance(workload.onnx, str) else None


OURS = row("ours", "ours", one=True)
BATCHES = row("ours-batches", "ours, function that accepts batches")
FRESH = row("ours-fresh", "ours, fresh worker per job", one=True, jobs_per_worker="1")
ONNX = row("ours-onnx", "ours, ONNX", onnx=True, one=True)
ONNX_BATCHES = row("ours-onnx-batches", "ours, ONNX, function that accepts batches", onnx=True)
FRESH_ONNX = row("ours-fresh-onnx", "ours, fresh worker per job, ONNX", onnx=True, one=True, jobs_per_worker="1")
EXEC = row("ours-exec", "ours, program per job", program=True)
