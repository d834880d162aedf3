"""Does all that a release does, short of publishing: `make release-rehearsal`.

Each step returns a line for people, or raises `ReleaseError`, which ends the rehearsal. What would be published is
then in dist/ and sbom/. Everything else is in folders that are removed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import textwrap
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import artefacts
import distributions
import environments
import image_build
from artefacts import DIST
from containers import started, train
from distributions import ROOT, Built
from image_build import Buildah, Image
from programs import ReleaseError, output_of
from sboms import Listed

from consumer._version import PRODUCT, VERSION

BIN = Path(sys.executable).parent
#: What the client and all that it needs may add to an environment.
CLIENT_BYTES = 30 * 10**6
#: What a producer does without, and must not get.
NOT_IN_CLIENT = ("numpy", "sklearn", "uvloop", "rich", "statsd", "pythonjsonlogger")
#: Ends the output of `consumer demo` when all went well.
DEMO_DONE = "Done: everything worked as expected."
#: Sends a job through the installed client, and prints where it ran.
ASK = """
import sys
from consumer.client import BlockingClient

with BlockingClient.open(sys.argv[1]) as client:
    result = client.classify([0, 1, 0, -1])
    print(result.label, result.consumer)
"""
#: Two builds must not depend on any of these.
ELSEWHERE = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "HOME": "/nonexistent", "PYTHONHASHSEED": "1"}
WIDTH, INDENT = 100, 15
#: The most uncommitted files that are named.
NAMED = 3


def commands_shown() -> list[str]:
    """Return the commands that an index shows for a first success: those in the description of the service."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["readme"]["text"].splitlines()
    return [line.strip() for line in lines if line.startswith("    ")]


@dataclass
class Rehearsal:
    """The steps, in the order of their definition.

    `folder` is for what is removed in the end. Mutable state: `listed`, the SBOMs that were made.
    """

    folder: Path
    show: Callable[[str], None]
    listed: list[Listed] = field(default_factory=list)

    def run(self) -> None:
        """Go through all steps.

        Raises:
            ReleaseError: a step failed; those after it were not tried.
        """
        self._head()
        self._step("notes", self._notes)
        built = artefacts.build_dist()
        self._step("built twice", lambda: self._built_twice(built))
        self._step("metadata", lambda: self._metadata(built))
        self._step("service", lambda: self._service(built))
        self._step("client", lambda: self._client(built))
        self._step("SBOMs", lambda: self._list(artefacts.list_wheels(built)))
        with image_build.workshop() as workshop:
            engine = Buildah(workshop)
            self._step("image", lambda: self._image(engine))
            image = engine.image(image_build.NAME)
            self._step("SBOM of image", lambda: self._list([artefacts.list_image(image.root)]))
            self._step("job", lambda: self._job(image, workshop))
        self._published([*built.files, *(each.path for each in self.listed)], sum(image.layers[1:]))

    def _head(self) -> None:
        if obstacle := image_build.obstacle():
            raise ReleaseError(obstacle)
        if not distributions.in_git():
            raise ReleaseError("this is no clone; a release is made of a commit")
        commit = output_of(["git", "log", "-1", "--format=%h of %cs"], cwd=ROOT).strip()
        self.show(f"Rehearsal of the release {PRODUCT} {VERSION}, commit {commit}\n")
        if changes := distributions.uncommitted():
            names = ", ".join(change[3:] for change in changes[:NAMED])
            self.show(f"What is not committed is not in it: {names}{', ...' if changes[NAMED:] else ''}\n")

    def _step(self, name: str, work: Callable[[], str]) -> None:
        began = time.monotonic()
        try:
            said = work()
        except ReleaseError as failed:
            raise ReleaseError(f"{name}: {failed}") from failed
        text = f"{said} ({time.monotonic() - began:.0f}\N{NO-BREAK SPACE}s)"
        first, *more = textwrap.wrap(text, WIDTH - INDENT, break_long_words=False, break_on_hyphens=False)
        self.show("\n".join([f"{name:<{INDENT}}{first}", *(f"{'':<{INDENT}}{line}" for line in more)]))

    def _notes(self) -> str:
        notes = artefacts.version_notes()
        return f"{len(notes.splitlines())} lines of CHANGELOG.md"

    def _built_twice(self, built: Built) -> str:
        other = self.folder / "a" / "second" / "build"
        distributions.build(distributions.clone_in(self._clone), other, **ELSEWHERE)
        distributions.compare(DIST, other)
        return f"{len(built.files)} files from an archive and from a clone, in other folders: the same bit by bit"

    def _metadata(self, built: Built) -> str:
        output_of([BIN / "twine", "check", "--strict", *built.files])
        projects = [ROOT / "pyproject.toml", ROOT / distributions.CLIENT / "pyproject.toml"]
        output_of([BIN / "validate-pyproject", *projects])
        return "`twine check --strict` and `validate-pyproject` find nothing"

    def _service(self, built: Built) -> str:
        empty = self.folder / "service"
        empty.mkdir()
        shown = commands_shown()
        commands = "\n".join(shown).replace(f"install {PRODUCT}", f"install {built.service}")
        commands = commands.replace("python3", environments.base_python())
        said = output_of(["sh", "-euc", commands], cwd=empty).strip().splitlines()[-1]
        if said != DEMO_DONE:
            raise ReleaseError(f"the demo ended with: {said}")
        return f"in an empty folder, {len(shown)} commands from the index's page: {said}"

    @property
    def _clone(self) -> Path:
        return self.folder / "clone"

    @property
    def _client_python(self) -> Path:
        return self.folder / "client" / "bin" / "python"

    def _client(self, built: Built) -> str:
        client = environments.fresh(self.folder / "client", built.client)
        found = output_of([self._client_python, "-c", _find(NOT_IN_CLIENT)]).split()
        if found:
            raise ReleaseError(f"the client brings {', '.join(found)}; see deploy/client/pyproject.toml")
        if client.added_bytes > CLIENT_BYTES:
            raise ReleaseError(f"the client adds {_megabytes(client.added_bytes)} to an environment")
        return (
            f"`pip install` took {client.seconds:.1f} s and added {_megabytes(client.added_bytes)} to a fresh "
            f"environment; without {', '.join(NOT_IN_CLIENT)}"
        )

    def _list(self, made: Sequence[Listed]) -> str:
        self.listed += made
        counts = ", ".join(f"{each.path.name} with {each.components} components" for each in made)
        return f"valid CycloneDX 1.6: {counts}"

    def _image(self, engine: Buildah) -> str:
        engine.make_base()
        engine.build_ours(self._clone)
        added = sum(engine.image(image_build.NAME).layers[1:])
        return f"built by buildah without a network; adds {_megabytes(added)} to its base"

    def _job(self, image: Image, workshop: Path) -> str:
        models = workshop / "srv"
        train(image, models)
        with self._broker() as url, started(image, url, shared=["--ro-bind", str(models), "/srv"]) as container:
            answer = output_of([self._client_python, "-c", ASK, url]).split()
            container.ask_to_stop()
            if code := container.exit_code():
                raise ReleaseError(f"the container ended with {code} after SIGTERM")
        return f"the client's job ran in a container: label {answer[0]}, by {answer[1]}; SIGTERM, exit code 0"

    @contextmanager
    def _broker(self) -> Iterator[str]:
        """Run a private RabbitMQ node with the installed service; give its URL."""
        command = [str(self.folder / "service" / ".venv" / "bin" / "consumer"), "local-broker"]
        output_of([*command, "up"], cwd=self.folder)
        try:
            yield output_of([*command, "url"], cwd=self.folder).strip()
        finally:
            output_of([*command, "down"], cwd=self.folder)

    def _published(self, files: Sequence[Path], image_bytes: int) -> None:
        self.show("\nWould be published, from dist/ and sbom/:\n")
        for path in files:
            self.show(f"{path.stat().st_size:>12,} bytes  {path.name}")
            self.show(f"{'':>20}sha256 {distributions.sha256_of(path)}")
        self.show(f"{image_bytes:>12,} bytes  image {PRODUCT}:{VERSION}, on top of its base")
        self.show(f"{'':>20}no digest: this one's base is Debian's own Python; a release builds on Python's image")


def _find(modules: tuple[str, ...]) -> str:
    return f"import importlib.util as u; print(*(name for name in {modules} if u.find_spec(name)))"


def _megabytes(count: int) -> str:
    return f"{count / 10**6:.1f} MB"


def rehearse(show: Callable[[str], None]) -> None:
    """Rehearse a release; show each step when it has ended.

    Raises:
        ReleaseError: a step failed.
    """
    with tempfile.TemporaryDirectory(prefix=f"rehearsal-{os.getpid()}-") as folder:
        Rehearsal(Path(folder), show).run()
