"""Builds images with buildah, and starts containers of them with bubblewrap.

buildah reads a Dockerfile as Docker does. It needs no daemon and, with `chroot` as its isolation, no runtime. The
base image cannot be fetched, so Debian 12 with its own python3 takes its name: what is built here is tested, and
never published. The build has no network: pip finds wheels in a mounted folder, which shows that the build fetches
nothing else.

bubblewrap, because `buildah run` has no read-only root and no first process that an engine's signals reach.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

from dockerfile_parse import DockerfileParser
from packaging.requirements import Requirement
from programs import ReleaseError, output_of

from consumer._version import VERSION

ROOT = Path(__file__).absolute().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
#: Of the image on the pages, and of the distribution in it.
NAME = "rabbitmq-classifier"
#: What builds the wheel in the image.
BACKEND = "hatchling"
PROGRAMS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "bwrap": "bubblewrap"}
#: What python:3.11-slim-bookworm has of Debian (libstdc++6 comes with its apt). Unpacked, not installed: no script
#: of a package has anything to do for a Python. The hook writes dpkg's own list of packages, for the SBOM.
BASE_PACKAGES = "python3,python3-venv,dash,coreutils,findutils,libc-bin,libstdc++6,base-files"
LIST_PACKAGES = """\
for package in "$1"/var/cache/apt/archives/*.deb; do
    dpkg-deb --field "$package"
    printf "Status: install ok installed\\n\\n"
done > "$1"/var/lib/dpkg/status
"""
BASE = """\
FROM scratch
ADD base.tar /
"""
#: A folder of pip's configuration, which pip reads in any image.
PIP = "/etc/xdg/pip"
PIP_CONF = f"""
[global]
no-index = true
find-links = {PIP}
"""
#: In namespaces of its own: what a program mounts and starts ends with it, and it ends with the test.
APART = ["setpriv", "--pdeathsig", "KILL", "unshare", "--fork", "--kill-child", "--pid", "--mount-proc"]
NO_NETWORK = "--net"
#: Of buildah: no runtime, and no network that it would have to set up.
ISOLATION = ["--isolation=chroot", "--network=host"]
#: Files are made and removed by the ten thousand: in memory, where there is room.
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
NEEDED_BYTES = 3 * 1024**3
PREFIX = "consumer-image-"


def obstacle() -> str | None:
    """Return why no image can be built here; None if one can."""
    if os.geteuid() != 0:
        return "only root can build and start the image; run the tests as root"
    absent = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if absent:
        return f"no image can be built; install what is missing: sudo apt-get install {' '.join(absent)}"
    try:
        output_of([*APART, NO_NETWORK, "true"], os.environ)
    except ReleaseError as refused:
        return f"buildah needs namespaces; they are refused: {refused}"
    return None


@contextmanager
def workshop() -> Iterator[Path]:
    """Make a folder that other users may enter, unlike pytest's; it is removed after the block in any case."""
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


@dataclass(frozen=True)
class Image:
    """An image, and a container of it whose root file system is mounted."""

    root: Path
    #: What an engine reads of it, in Docker's format.
    config: Mapping[str, Any]
    #: The size of each layer, that of the base first.
    layers: Sequence[int]
    #: buildah's command line up to the options of `run`, and what it calls the container.
    engine: Sequence[str]
    made: str

    @property
    def start(self) -> list[str]:
        """What a container runs unless it is told otherwise."""
        return [*self.config["Entrypoint"], *self.config["Cmd"]]

    @property
    def health_check(self) -> list[str]:
        """What an engine executes in a container to learn whether it is healthy."""
        argv: list[str]
        kind, *argv = self.config["Healthcheck"]["Test"]
        if kind != "CMD":
            raise ReleaseError(f"the health check is a {kind}, which needs a shell; write it as a list")
        return argv

    def run(self, *argv: str, volumes: Sequence[str] = ()) -> str:
        """Let buildah run a program in the container, as the image says; return what it prints."""
        shared = [f"--volume={volume}" for volume in volumes]
        return output_of([*self.engine, *shared, self.made, "--", *argv], os.environ)

    def container(
        self, argv: Sequence[str], *, shared: Sequence[str] = (), variables: Mapping[str, str] | None = None
    ) -> tuple[list[str], dict[str, str]]:
        """Return command line and environment to run a program as `docker run --read-only --tmpfs /tmp` would.

        `shared`: more of bubblewrap's options. The network is that of the host.
        """
        uid, gid = self.config["User"].split(":")
        # As this user from outside, too: what only root may do fails here as it does in a container.
        outside = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        options = ["--unshare-user", "--uid", uid, "--gid", gid, "--cap-drop", "ALL"]
        options += ["--unshare-pid", "--as-pid-1", "--die-with-parent"]
        mounts = ["--ro-bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", *shared]  # noqa: S108
        rest = ["--chdir", self.config["WorkingDir"], "--", *argv]
        return [*outside, "bwrap", *options, *mounts, *rest], self._environment(variables)

    def inside(
        self, first_process: int, argv: Sequence[str], variables: Mapping[str, str]
    ) -> tuple[list[str], dict[str, str]]:
        """Return command line and environment to run a program in a container as `docker exec` would."""
        uid, gid = self.config["User"].split(":")
        spaces = ["--user", "--mount", "--pid", "--root", "--wd", f"--setuid={uid}", f"--setgid={gid}"]
        return ["nsenter", f"--target={first_process}", *spaces, "--", *argv], self._environment(variables)

    def _environment(self, variables: Mapping[str, str] | None) -> dict[str, str]:
        return {**dict(line.split("=", 1) for line in self.config["Env"]), **(variables or {})}


class Buildah:
    """buildah with a storage of its own. Images and containers are removed with its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._buildah = ["buildah", f"--root={folder}/storage", f"--runroot={folder}/run", "--storage-driver=vfs"]
        (folder / "tmp").mkdir()

    def make_base(self) -> None:
        """Make what stands for the base image, under the name that the Dockerfile has for it."""
        context = self._folder / "base"
        context.mkdir()
        packages = ["--variant=extract", f"--include={BASE_PACKAGES}", f"--extract-hook={LIST_PACKAGES}"]
        self._call("mmdebstrap", "--quiet", "--mode=root", *packages, "bookworm", f"{context}/base.tar")
        (context / "Dockerfile").write_text(BASE)
        self.build(base_image(), context)

    def build_ours(self, tree: Path = ROOT) -> None:
        """Build the image of this repository, or of another tree of it."""
        pip = self._folder / "pip"
        fetch_wheels(pip)
        (pip / "pip.conf").write_text(PIP_CONF)
        file = tree / DOCKERFILE.relative_to(ROOT)
        given = [f"--file={file}", f"--volume={pip}:{PIP}:ro", f"--build-arg=VERSION={VERSION}"]
        self.build(NAME, tree, *given)

    def build(self, name: str, context: Path, *options: str) -> None:
        """Build the image of a folder."""
        # Only Docker's format has a health check.
        given = ["--format=docker", "--pull-never", f"--tag={name}", *options]
        self._call(NO_NETWORK, *self._buildah, "bud", *ISOLATION, *given, str(context))

    def image(self, name: str) -> Image:
        """Make a container of an image and mount it."""
        made = self._call(*self._buildah, "from", "--pull-never", name).strip()
        root = Path(self._call(*self._buildah, "mount", made).strip())
        for parent in root.relative_to(self._folder).parents:
            (self._folder / parent).chmod(0o755)  # for users other than root
        found = json.loads(self._call(*self._buildah, "inspect", "--type", "image", name))
        sizes = [layer["size"] for layer in json.loads(found["Manifest"])["layers"]]
        engine = [*APART, *self._buildah, "run", *ISOLATION]
        return Image(root, found["Docker"]["config"], sizes, engine, made)

    def _call(self, *command: str) -> str:
        return output_of([*APART, *command], {**os.environ, "LC_ALL": "C", "TMPDIR": str(self._folder / "tmp")})


def base_image() -> str:
    """Return the image that ours is built on, such as python:3.11-slim-bookworm."""
    return str(DockerfileParser(str(DOCKERFILE)).baseimage)


def fetch_wheels(folder: Path) -> None:
    """Fetch what pip would fetch in the image, from where this machine's pip is told to.

    What has to be fetched is known from what is installed here; if it were too little, the build would fail.
    """
    python, _, _ = base_image().partition(":")[2].partition("-")
    names = {*needed(NAME), BACKEND, *needed(BACKEND)}
    pinned = sorted(f"{name}=={version(name)}" for name in names)
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--dest", str(folder)]
    options += ["--python-version", python]  # of the image, whatever Python runs this
    output_of([sys.executable, "-m", "pip", "download", *options, *pinned], os.environ)


def needed(name: str) -> Iterator[str]:
    """Return all that a distribution needs, without its extras."""
    for line in requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name
            yield from needed(requirement.name)
