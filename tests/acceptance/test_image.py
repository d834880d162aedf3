"""The image: buildah builds deploy/Dockerfile, and what comes of it runs as a container would.

Not tested: the real base image, whose Python is in /usr/local, because tests reach no registry; limits by control
groups, published ports and how an engine repeats the health check, because no daemon runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import image_build
import pytest
from containers import started, train
from image_build import Buildah, Image
from programs import output_of
from support.docs_pages.pages import block
from support.measurements import Tell
from support.processes.commands import BIN
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S

from consumer._version import VERSION
from consumer.local_broker.files import free_ports

JOB = b'{"signal": [0, 1, 0, -1]}'
#: Bytes that the image adds to its base; with this bound we learn of what somebody brings in.
MAX_BYTES = 400 * 1024**2
#: A classifier of a user's own, whose job runs until a file appears in the container.
MINE = """
import time
from pathlib import Path

from classifier.contract import log


def classify(job):
    log("begun")
    while not Path("/tmp/go").exists():
        time.sleep(0.01)
    return "finished"
"""
#: Lists the folders that may be written to. /proc, /sys and /dev are not the image's.
WRITABLE = """
import os
print(os.getuid(), os.getgid(), os.getcwd())
for folder, inner, _ in os.walk("/"):
    inner[:] = [name for name in inner if os.path.join(folder, name) not in ("/proc", "/sys", "/dev")]
    if os.access(folder, os.W_OK):
        print(folder)
"""
#: What may be in the build context.
CONTEXT = {
    "pyproject.toml",
    "constraints.txt",
    "LICENSE",
    "rabbitmq_classifier.py",
    "rabbitmq_classifier_cli.py",
    "consumer",
    "classifier",
}
TOOK = pytest.StashKey[str]()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    if reason := image_build.obstacle():
        is_wanted = os.environ.get("CI") and os.geteuid() == 0
        (pytest.fail if is_wanted else pytest.skip)(reason)
    with image_build.workshop() as made:
        yield made


@pytest.fixture(scope="module")
def engine(folder: Path) -> Buildah:
    return Buildah(folder)


@pytest.fixture(scope="module")
def image(engine: Buildah, request: pytest.FixtureRequest) -> Image:
    began = time.monotonic()
    engine.make_base()
    based = time.monotonic()
    engine.build_ours()
    request.config.stash[TOOK] = f"base {based - began:.0f} s, build {time.monotonic() - based:.0f} s"
    return engine.image(image_build.NAME)


@pytest.fixture(scope="module")
def own_image(image: Image, engine: Buildah, folder: Path) -> Image:  # noqa: ARG001 - built on top of `image`
    """The image of the page, with a classifier of a user's own in it."""
    context = folder / "own"
    context.mkdir()
    (context / "Dockerfile").write_text(block("docs/deploy.md", "own-image").text)
    (context / "mine.py").write_text(MINE)
    engine.build("own", context)
    return engine.image("own")


def test_a_container_serves_a_model_says_how_it_is_and_stops_when_asked(
    image: Image, folder: Path, vhost_url: str, producer: Producer
) -> None:
    models = folder / "srv"
    train(image, models)
    with started(image, vhost_url, shared=["--ro-bind", str(models), "/srv"]) as container:
        reply_to = producer.reply_queue()
        producer.publish("classifier.jobs", JOB, reply_to=reply_to)
        assert producer.take(reply_to).json["status"] == "succeeded"
        assert container.execute(*image.health_check) == (0, "ok\n")
        code, findings = container.execute(*image.config["Entrypoint"], "check")
        assert code == 0, findings
        container.ask_to_stop()
        container.wait_for_event("stopped")
        assert container.exit_code() == 0


def test_the_health_check_finds_a_container_unhealthy_that_does_not_serve(image: Image) -> None:
    [port] = free_ports(1)
    command, environment = image.container(image.health_check, variables={"CONSUMER_HTTP_PORT": str(port)})
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, "no answer" in done.stdout) == (1, True), done.stderr


def test_a_running_job_finishes_after_sigterm(own_image: Image, vhost_url: str, producer: Producer) -> None:
    with started(own_image, vhost_url) as container:
        reply_to = producer.reply_queue()
        producer.publish("classifier.jobs", JOB, reply_to=reply_to)
        container.wait_for_event("job_log")
        container.ask_to_stop()
        container.wait_for_event("draining")
        assert container.execute("touch", "/tmp/go") == (0, "")  # noqa: S108 - the container's
        assert producer.take(reply_to).json["output"] == "finished"
        container.wait_for_event("stopped")
        assert container.exit_code() == 0


def test_a_job_that_runs_beyond_the_grace_period_is_requeued(
    own_image: Image, vhost_url: str, producer: Producer
) -> None:
    with started(own_image, vhost_url, CONSUMER_DRAIN_GRACE_S="0") as container:
        producer.publish("classifier.jobs", JOB)
        container.wait_for_event("job_log")
        container.ask_to_stop()
        container.wait_for_event("stopped")
        assert container.exit_code() == 0
    assert producer.take("classifier.jobs").body == JOB


def test_it_is_nobody_in_particular_and_can_write_nowhere_but_to_its_tmpfs(image: Image) -> None:
    argv = ["python3", "-c", WRITABLE]
    assert output_of(*image.container(argv)) == "10001 10001 /srv\n/tmp\n"
    user, *writable = image.run(*argv).splitlines()  # on a root that is not read-only
    assert (user, set(writable)) == ("10001 10001 /srv", {"/tmp", "/var/tmp", "/var/lock"})  # noqa: S108


def test_it_starts_with_the_consumer_itself_so_that_sigterm_reaches_it(image: Image) -> None:
    config = image.config
    assert (config["Entrypoint"], config["Cmd"], config["StopSignal"]) == (["consumer"], ["run"], "SIGTERM")


def test_it_names_its_version(image: Image) -> None:
    labels = image.config["Labels"]
    assert (labels["org.opencontainers.image.version"], image.run("consumer", "--version")) == (
        VERSION,
        f"consumer {VERSION}\n",
    )


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
    _, *ours = image.layers
    tell(f"the image adds {sum(ours) / 1e6:.0f} MB to its base; {request.config.stash[TOOK]}")
    assert sum(ours) < MAX_BYTES


def test_the_build_context_holds_no_more_than_what_is_copied(engine: Buildah, folder: Path) -> None:
    everything = folder / "Dockerfile.everything"
    everything.write_text("FROM scratch\nCOPY . /\n")
    engine.build("everything", image_build.ROOT, f"--file={everything}")
    root = engine.image("everything").root
    assert {path.name for path in root.iterdir()} == CONTEXT
    assert [*root.rglob("__pycache__")] == []


def test_the_linter_finds_nothing_and_would_find_something() -> None:
    assert lint(image_build.DOCKERFILE.read_text()) == []
    spoilt = image_build.DOCKERFILE.read_text().replace("python:3.11-slim-bookworm", "python:latest")
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
