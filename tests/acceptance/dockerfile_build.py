"""A Dockerfile, run without an engine: each instruction does here what it would do there, as far as we use it.

The base image is a stand-in: Debian 12 with its own python3, unpacked afresh. Programs run under bubblewrap, in
name spaces of their own, so nothing stays mounted however a test ends. An instruction that is not known here is an
error: what the test has not understood it has not tested.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
#: What the base image has of Debian, for python:3.11-slim-bookworm (libstdc++6 comes with its apt). Unpacked, not
#: installed: no script of a package has anything to do for a Python.
BASE_PACKAGES = "python3,python3-venv,dash,coreutils,findutils,libc-bin,libstdc++6,base-files"
BUILD_TIMEOUT_S = 600
#: Files are made and removed by the ten thousand: in memory, where there is room.
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
NEEDED_BYTES = 3 * 1024**3
PREFIX = "consumer-image-"
#: Where RUN finds the wheels.
WHEELS = "/tmp/wheels"  # noqa: S108 - the image's
#: Nothing of ours has to be said in the image's log.
IGNORED = ("LABEL", "EXPOSE")


@dataclass
class Image:
    """A root file system and what a container of it is started with."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin"})
    folder: str = "/"
    user: str = "0:0"
    entry_point: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health_check: list[str] = field(default_factory=list)
    stop_signal: str = ""

    def container(
        self, argv: Sequence[str], *, shared: Sequence[str] = (), variables: Mapping[str, str] | None = None
    ) -> tuple[list[str], dict[str, str]]:
        """Give the command line and environment that run a program as `docker run --read-only --tmpfs /tmp` would.

        `shared`: more of bubblewrap's options. The network is that of the host.
        """
        uid, gid = self.user.split(":")
        # As this user from outside, too: what only root may do fails here as it does in a container.
        outside = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        options = [
            "--unshare-user",
            "--unshare-pid",
            "--as-pid-1",
            "--die-with-parent",
            "--uid",
            uid,
            "--gid",
            gid,
        ]
        mounts = ["--ro-bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", *shared]  # noqa: S108
        rest = ["--cap-drop", "ALL", "--chdir", self.folder, "--", *argv]
        return [*outside, "bwrap", *options, *mounts, *rest], {**self.environment, **(variables or {})}


@contextmanager
def workshop() -> Iterator[Path]:
    """Give a folder that other users may enter, unlike pytest's; it is gone after the block, whatever happened."""
    room = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0
    shelf = SHARED_MEMORY if room > NEEDED_BYTES else Path(tempfile.gettempdir())
    for left in shelf.glob(f"{PREFIX}*"):  # of a test that was killed
        if not Path(f"/proc/{left.name.removeprefix(PREFIX).partition('-')[0]}").exists():
            shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=shelf))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def unpack_base(root: Path) -> None:
    """Unpack the stand-in for the base image."""
    include = f"--include={BASE_PACKAGES}"
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=extract", include, "bookworm", root]
    # Should it be killed, its mounts go with it.
    _run(["unshare", "--mount", *command], {**os.environ, "LC_ALL": "C"})
    shutil.rmtree(root / "dev")  # bubblewrap brings its own
    (root / "dev").mkdir()


def fetch_wheels(folder: Path) -> dict[str, str]:
    """Fetch what pip would fetch in the image; give the variables that make it look there, and not further.

    The build has no network then, which shows that nothing else is fetched. What has to be fetched is known from
    what is installed here; if it were too little, the build would fail.
    """
    pinned = sorted({f"{name}=={version(name)}" for name in needed("rabbitmq-classifier")})
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--dest", str(folder)]
    _run([sys.executable, "-m", "pip", "download", *options, *pinned, "setuptools>=77"], dict(os.environ))
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS}


def needed(name: str) -> Iterator[str]:
    """Give all that a distribution needs, without its extras."""
    for line in requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name
            yield from needed(requirement.name)


def build(base: Path, folder: Path, wheels: Path, variables: dict[str, str]) -> Image:
    """Run the Dockerfile; give the image of its last stage. `variables` are for RUN alone, as secrets are."""
    stages: dict[str, Image] = {}
    image = Image(base)
    for step in DockerfileParser(str(DOCKERFILE)).structure:
        match step["instruction"], step["value"]:
            case "FROM", value:
                image = Image(folder / f"stage-{len(stages)}")
                _run(["cp", "--archive", base, image.root], {**os.environ})
                stages[value.partition(" AS ")[2]] = image
            case "RUN", value:
                _run_in(image, value, wheels, variables)
            case "COPY", value:
                _copy(image, value.split(), stages)
            case "COMMENT", _:
                pass
            case known, _ if known in IGNORED:
                pass
            case name, value:
                _set(image, name, value)
    return image


def _set(image: Image, name: str, value: str) -> None:
    """Take what is only remembered for the container."""
    match name:
        case "WORKDIR":
            image.folder = value
            (image.root / value.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "ENV" | "ARG":
            for found in re.finditer(r'(\w+)=("[^"]*"|\S*)', value):
                image.environment[found[1]] = found[2].strip('"')
        case "USER":
            image.user = value
        case "STOPSIGNAL":
            image.stop_signal = value
        case "ENTRYPOINT":
            image.entry_point = json.loads(value)
        case "CMD":
            image.command = json.loads(value)
        case "HEALTHCHECK":
            image.health_check = json.loads(value.partition("CMD ")[2])
        case _:
            raise AssertionError(f"the test does not know {name} {value}")


def _run_in(image: Image, command: str, wheels: Path, variables: dict[str, str]) -> None:
    mounts = ["--bind", image.root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - the image's
    mounts += ["--ro-bind", wheels, WHEELS]
    options = ["--unshare-pid", "--unshare-net", "--die-with-parent", "--chdir", image.folder]
    environment = {**image.environment, **variables, "HOME": "/root"}
    _run(["bwrap", *mounts, *options, "--", "/bin/sh", "-c", command], environment)


def _copy(image: Image, words: list[str], stages: dict[str, Image]) -> None:
    """Copy from the build context, of which .dockerignore leaves only what it names, or from another stage."""
    source = ROOT
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")].root
    *names, target = words
    into = image.root / image.folder.lstrip("/") / target if target[0] != "/" else image.root / target.lstrip("/")
    for name in names:
        found = source / name.lstrip("/")
        assert source != ROOT or name in context(), f".dockerignore keeps {name} out"
        if found.is_dir():
            left_out = shutil.ignore_patterns("__pycache__") if source == ROOT else None
            shutil.copytree(found, into, symlinks=True, ignore=left_out)
        else:
            shutil.copy(found, into / found.name if target.endswith("/") else into)


def context() -> set[str]:
    """Give what the build context holds: .dockerignore is a list of what may be in it."""
    first, *others = (ROOT / ".dockerignore").read_text().split("\n*\n")[1].split("\n")
    return {line.removeprefix("!") for line in (first, *others) if line.startswith("!")}


def _run(command: Sequence[Any], environment: dict[str, str]) -> None:
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
