"""No secret of the service's reaches a classifier, whichever way it is run, or the log, or RabbitMQ's console.

Linux lets root look at everything. So the consumer runs as a user whom it stops; where that is not ours, it
keeps root's right to read files, which is not the right to look into a process.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import secret_finder
from support.processes.commands import environment
from support.processes.consumer_process import ConsumerProcess
from support.rabbitmq.management_api import Management
from support.rabbitmq.producer import Producer
from support.unprivileged import NOBODY

FINDER = Path(secret_finder.__file__)
#: Through env, as whether Python itself may be executed is asked with the rights of the user alone.
RUNNERS = {
    "program": {"command": json.dumps(["/usr/bin/env", sys.executable, str(FINDER)])},
    "warm": {"classifier": "secret_finder:classify"},
}
#: The pipes, nothing, and what a worker measures its own memory by.
HARMLESS = re.compile(r"/dev/null|pipe:.*|/proc/\d+/(statm|clear_refs)")
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--bounding-set=-all,+dac_read_search",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
)


@contextmanager
def unprivileged(variables: dict[str, str], job_dir: Path) -> Iterator[ConsumerProcess]:
    """Run a consumer as a user who is not root."""
    is_root = os.geteuid() == 0
    job_dir.mkdir(mode=0o700)
    if is_root:
        os.chown(job_dir, NOBODY, NOBODY)
    running = ConsumerProcess(variables, log_level="DEBUG", through=AS_NOBODY if is_root else ())
    try:
        running.wait_for_event("ready")
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_classifier_finds_no_secret_in_what_it_is_given_or_may_look_at(
    management: Management, producer: Producer, tmp_path: Path, runner: str, place: str
) -> None:
    node, job_dir = management.node, tmp_path / "jobs"
    url, password = node.vhost_url(management.vhost), node.password
    settings: dict[str, object] = {**RUNNERS[runner], "job_dir": job_dir}
    if place == "file":
        (tmp_path / "password").write_text(password)
        url = url.replace(f":{password}@", "@")
        settings["amqp_password_file"] = tmp_path / "password"
    variables = {**environment(url, **settings), "PYTHONPATH": str(FINDER.parent)}
    with unprivileged(variables, job_dir) as running:
        producer.publish("classifier.jobs", json.dumps({"drawkcab": password[::-1]}).encode())
        output = producer.take("classifier.results").json["output"]
        running.wait_for_event("job_settled", settlement="ack")
        shown = json.dumps(management.get("vhosts/{vhost}/connections"))
    assert output["found"] == []
    assert running.process.pid in output["ancestors"]
    assert not [path for path in output["open_to_us"] if f"/{running.process.pid}/" in path]
    assert all(map(HARMLESS.fullmatch, output["descriptors"]))
    assert password not in "".join(running.log)
    assert password not in shown
