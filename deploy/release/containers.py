"""Starts containers of an image, as an engine would, and follows their log.

image_build.py says how a container is isolated. A container ends with its block.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

from image_build import Image
from programs import ReleaseError

from consumer.local_broker.files import free_ports
from consumer.telemetry.log_events import EVENTS

#: No container takes this long for anything, unless it hangs.
PATIENCE_S = 180.0


class Container:
    """A running container of an image."""

    def __init__(self, image: Image, running: subprocess.Popen[str], variables: Mapping[str, str]) -> None:
        self._image = image
        self._running = running
        self._variables = variables

    @property
    def first_process(self) -> int:
        """Find its first process, to which an engine sends signals: the only child of bubblewrap."""
        pid = self._running.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())

    def wait_for_event(self, event: str) -> None:
        """Read its log, which is JSON, up to a record of this event.

        Raises:
            ReleaseError: the log ends before.
        """
        if event not in EVENTS or self._running.stderr is None:
            raise ValueError(event)
        log = []
        patience = Timer(PATIENCE_S, self._running.kill)  # which ends the log
        patience.start()
        try:
            for line in self._running.stderr:
                log.append(line)
                if _event_of(line) == event:
                    return
        finally:
            patience.cancel()
        raise ReleaseError(f"the container ended without the event {event}:\n{''.join(log)}")

    def execute(self, *argv: str) -> tuple[int, str]:
        """Run a program in it, as `docker exec` does; return its exit code and what it prints."""
        command, environment = self._image.inside(self.first_process, argv, self._variables)
        done = subprocess.run(  # noqa: S603 - the caller's own program
            command, env=environment, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False
        )
        return done.returncode, done.stdout

    def ask_to_stop(self) -> None:
        """Send the signal that the image names."""
        os.kill(self.first_process, getattr(signal, self._image.config["StopSignal"]))

    def exit_code(self) -> int:
        """Wait for its end."""
        return self._running.wait(PATIENCE_S)


def _event_of(line: str) -> object:
    try:
        record = json.loads(line)
    except ValueError:  # an early complaint is no record
        return None
    return record.get("event") if isinstance(record, dict) else None


@contextmanager
def started(image: Image, url: str, *, shared: Sequence[str] = (), **settings: str) -> Iterator[Container]:
    """Start a container as the image says, and wait until it is ready; it is gone after the block."""
    [port] = free_ports(1)  # it has the network of the host
    variables = {
        "CONSUMER_AMQP_URL": url,
        "CONSUMER_HTTP_PORT": str(port),
        "CONSUMER_HTTP_HOST": "127.0.0.1",
        "CONSUMER_LOG_FORMAT": "json",
        "CONSUMER_POOL_SIZE": "1",
        **settings,
    }
    command, environment = image.container(image.start, shared=shared, variables=variables)
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as running:  # noqa: S603 - ours
        try:
            container = Container(image, running, variables)
            container.wait_for_event("ready")
            yield container
        finally:
            running.kill()  # and its processes with it


def train(image: Image, models: Path) -> None:
    """Make a model of generated signals, with what the image holds, in this new folder."""
    models.mkdir()
    models.chmod(0o777)
    volumes = [f"{models}:/srv"]
    image.run("classifier", "generate", "--per-class", "10", "--out", "machines.csv", volumes=volumes)
    image.run("classifier", "train", "machines.csv", "--out", "models/machines", volumes=volumes)
