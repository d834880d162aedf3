"""The image: each step of the Dockerfile done in a fresh root, and what comes of it run as a container would be.

Not tested, for there is neither an engine nor a registry here: the real base image, layers, and how an engine
reads HEALTHCHECK and STOPSIGNAL. The base is Debian's Python of the same version (dockerfile_build.py).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dockerfile_build
import pytest
from dockerfile_build import Image
from support.measurements import Tell
from support.processes.commands import BIN
from support.processes.log_lines import records_of
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S

from consumer.local_broker.files import free_ports

JOB = b'{"signal": [0, 1, 0, -1]}'
#: Bytes that the image adds to its base; with this bound we learn of what somebody brings in.
MAX_BYTES = 400 * 1024**2

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a root file system is made by root alone")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with dockerfile_build.workshop() as made:
        yield made


@pytest.fixture(scope="module")
def image(folder: Path, request: pytest.FixtureRequest) -> Image:
    began = time.monotonic()
    base, wheels = folder / "base", folder / "wheels"
    dockerfile_build.unpack_base(base)
    based = time.monotonic()
    variables = dockerfile_build.fetch_wheels(wheels)
    fetched = time.monotonic()
    built = dockerfile_build.build(base, folder, wheels, variables)
    took = {"base": based - began, "wheels": fetched - based, "build": time.monotonic() - fetched}
    request.config.stash[TOOK] = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in took.items())
    return built


TOOK = pytest.StashKey[str]()


@contextmanager
def container(
    image: Image, argv: Sequence[str], variables: Mapping[str, str], models: Path
) -> Iterator[subprocess.Popen[str]]:
    """Start a container with the models in place; it is gone after the block."""
    shared = ["--ro-bind", str(models), "/srv"]
    command, environment = image.container(argv, shared=shared, variables=variables)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as started:
        try:
            yield started
        finally:
            started.kill()  # and its processes with it


def said(image: Image, argv: Sequence[str], variables: Mapping[str, str], models: Path) -> tuple[int | None, str]:
    """Run a command to its end; give its exit code and what it printed."""
    with container(image, argv, variables, models) as running:
        out, _ = running.communicate(timeout=PATIENCE_S)
    return running.returncode, out


def wait_for_event(running: subprocess.Popen[str], event: str) -> None:
    """Read its log, which is JSON, up to a record of this event."""
    assert running.stderr is not None
    log = []
    for line in running.stderr:
        log.append(line)
        if records_of(event, line):
            return
    raise AssertionError(f"it ended without the event {event}:\n{''.join(log)}")


def first_process(running: subprocess.Popen[str]) -> int:
    """Find the container's first process, to which an engine sends signals: the only child of bubblewrap."""
    return int(Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text())


def test_a_container_serves_a_model_says_how_it_is_and_stops_when_asked(
    image: Image, folder: Path, vhost_url: str, producer: Producer
) -> None:
    models = folder / "srv"
    train(image, models)
    [port] = free_ports(1)
    variables = {
        "CONSUMER_AMQP_URL": vhost_url,
        "CONSUMER_HTTP_PORT": str(port),
        "CONSUMER_HTTP_HOST": "127.0.0.1",
        "CONSUMER_LOG_FORMAT": "json",
    }
    variables["CONSUMER_POOL_SIZE"] = "1"
    with container(image, [*image.entry_point, *image.command], variables, models) as running:
        wait_for_event(running, "ready")
        reply_to = producer.reply_queue()
        producer.publish("classifier.jobs", JOB, reply_to=reply_to)
        assert producer.take(reply_to).json["status"] == "succeeded"
        assert said(image, image.health_check, variables, models) == (0, "ok\n")
        code, findings = said(image, [*image.entry_point, "check"], variables, models)
        assert code == 0, findings
        os.kill(first_process(running), getattr(signal, image.stop_signal))
        wait_for_event(running, "stopped")
        assert running.wait(PATIENCE_S) == 0
    code, out = said(image, image.health_check, variables, models)
    assert (code, "no answer" in out) == (1, True)


def train(image: Image, models: Path) -> None:
    """Make a model with what the image holds."""
    models.mkdir(mode=0o777)
    models.chmod(0o777)
    shared = ["--bind", str(models), "/srv"]
    for argv in (
        ["classifier", "generate", "--per-class", "10", "--out", "machines.csv"],
        ["classifier", "train", "machines.csv", "--out", "models/machines"],
    ):
        command, environment = image.container(argv, shared=shared)
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert done.returncode == 0, done.stderr


def test_it_is_nobody_in_particular_and_can_write_nowhere_but_to_its_tmpfs(image: Image) -> None:
    code = """
import os
paths = ["/", "/opt/consumer", "/srv", "/tmp"]
print(os.getuid(), os.getgid(), [path for path in paths if os.access(path, os.W_OK)])
"""
    command, environment = image.container(["python3", "-c", code])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert done.stdout == "10001 10001 ['/tmp']\n"


def test_it_starts_with_the_consumer_itself_so_that_sigterm_reaches_it(image: Image) -> None:
    assert (image.entry_point, image.command, image.stop_signal) == (["consumer"], ["run"], "SIGTERM")


def test_every_source_has_its_bytecode_and_neither_pip_nor_a_compiler_is_left(image: Image) -> None:
    library = image.root / "opt/consumer/lib"
    sources = [path for path in library.rglob("*.py") if "__pycache__" not in path.parts]
    compiled = {path.name.partition(".")[0] + str(path.parent.parent) for path in library.rglob("*.pyc")}
    assert len(sources) > 1000
    assert [path for path in sources if path.stem + str(path.parent) not in compiled] == []
    left = {path.name for path in (image.root / "opt/consumer/bin").iterdir()}
    assert not left & {"pip", "pip3"}
    assert not [name for name in ("gcc", "cc", "ld", "make") if (image.root / "usr/bin" / name).exists()]


def test_it_is_small(image: Image, request: pytest.FixtureRequest, tell: Tell) -> None:
    added = sum(path.lstat().st_size for path in (image.root / "opt/consumer").rglob("*"))
    tell(f"the image adds {added / 1e6:.0f} MB to its base; {request.config.stash[TOOK]}")
    assert added < MAX_BYTES


def test_the_build_context_holds_no_more_than_what_is_copied() -> None:
    files = {
        "pyproject.toml",
        "constraints.txt",
        "LICENSE",
        "rabbitmq_classifier.py",
        "rabbitmq_classifier_cli.py",
    }
    assert dockerfile_build.context() == files | {"consumer", "classifier"}


def test_the_linter_finds_nothing_and_would_find_something() -> None:
    assert lint(dockerfile_build.DOCKERFILE.read_text()) == []
    spoilt = dockerfile_build.DOCKERFILE.read_text().replace("python:3.11-slim-bookworm", "python:latest")
    assert "DL3007" in lint(spoilt)


def lint(text: str) -> list[str]:
    """Give the rules that a Dockerfile breaks."""
    done = subprocess.run(
        [BIN / "hadolint", "--format", "json", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return [entry["code"] for entry in found]
