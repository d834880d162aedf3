"""Builds what is published for Python, and compares two builds: the sdist and the wheels of service and client.

The sdist comes first, and both wheels are built from the unpacked sdist, so that a file that is missing there is
noticed. The hatchling that is installed here builds them: nothing is fetched, and its version is that of
constraints.txt.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec
from programs import ReleaseError, clean_environment, output_of

ROOT = Path(__file__).absolute().parents[2]
#: The folder of the client's pyproject.toml, in the tree.
CLIENT = Path("deploy/client")


@dataclass(frozen=True)
class Built:
    """The distributions of one build."""

    sdist: Path
    service: Path
    client: Path

    @property
    def files(self) -> list[Path]:
        """All of them, in the order in which they are published."""
        return [self.sdist, self.service, self.client]


def in_git() -> bool:
    """Return whether this is a clone, and not an unpacked sdist, which may lie in somebody's own repository."""
    return (ROOT / ".git").exists() and shutil.which("git") is not None


def tracked() -> set[str]:
    """Return the files that git tracks."""
    return _git_files("--cached")


def tree_files() -> set[str]:
    """Return the files of the tree: those in git, or soon there; in an unpacked sdist, all that git would take."""
    if in_git():
        return _git_files("--cached", "--others", "--exclude-standard")
    ignored = GitIgnoreSpec.from_lines((ROOT / ".gitignore").read_text().splitlines())
    return {*ignored.match_tree_files(ROOT, negate=True)} - {"PKG-INFO"}


def _git_files(*which: str) -> set[str]:
    names = output_of(["git", "ls-files", "-z", *which], cwd=ROOT).split("\0")
    return {name for name in names if name and (ROOT / name).is_file()}


def tree_in(folder: Path) -> Path:
    """Copy the tree's files, with changes that are not committed, into this folder, which is made."""
    for name in tree_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def commit_in(folder: Path) -> Path:
    """Write the files of the last commit into this folder, which is made: no clone, and times of the commit."""
    folder.mkdir(parents=True)
    packed = folder.with_suffix(".tar")
    output_of(["git", "archive", f"--output={packed}", "HEAD"], cwd=ROOT)
    with tarfile.open(packed) as opened:
        opened.extractall(folder, filter="data")
    packed.unlink()
    return folder


def clone_in(folder: Path) -> Path:
    """Clone the last commit into this folder, as a CI does: the times are those of now."""
    output_of(["git", "clone", "--quiet", "--no-hardlinks", ROOT, folder])
    return folder


def uncommitted() -> list[str]:
    """Return the changes that no build of the last commit has, as git shows them."""
    return output_of(["git", "status", "--porcelain"], cwd=ROOT).splitlines()


def build(tree: Path, into: Path, **variables: str) -> Built:
    """Build all distributions of a tree into a folder. The tree stays as it is; `variables` are for the builds.

    Raises:
        ReleaseError
    """
    into.mkdir(parents=True, exist_ok=True)
    sdist = _build("sdist", tree, into, variables)
    unpacked = unpack(sdist, into / "unpacked")
    try:
        service = _build("wheel", unpacked, into, variables)
        client = _build("wheel", unpacked / CLIENT, into, variables)
    finally:
        shutil.rmtree(into / "unpacked")
    return Built(sdist, service, client)


def _build(target: str, tree: Path, into: Path, variables: Mapping[str, str]) -> Path:
    # The hook that every front end calls; it returns the name of the file.
    hook = f"import sys; from hatchling.build import build_{target}; print(build_{target}(sys.argv[1]))"
    said = output_of([sys.executable, "-c", hook, into.resolve()], clean_environment(**variables), cwd=tree)
    return into / said.splitlines()[-1]


def unpack(sdist: Path, into: Path) -> Path:
    """Unpack an sdist into a folder; return its one folder there."""
    with tarfile.open(sdist) as opened:
        opened.extractall(into, filter="data")
    [top] = into.iterdir()
    return top


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compare(first: Path, second: Path) -> None:
    """Compare two folders of distributions, byte by byte.

    Raises:
        ReleaseError: they differ; the message names the files, and the members that differ.
    """
    if found := differences(first, second):
        raise ReleaseError(
            "two builds of one commit differ, so nobody can verify what is published: "
            f"{'; '.join(found)}. Look for a time, a path or an order in the build"
        )


def differences(first: Path, second: Path) -> list[str]:
    """Return how the files of two folders differ; an empty list if they do not."""
    ones, others = ({path.name: path for path in folder.iterdir()} for folder in (first, second))
    found = [f"{name} is in one build only" for name in sorted(ones.keys() ^ others.keys())]
    for name in sorted(ones.keys() & others.keys()):
        if ones[name].read_bytes() != others[name].read_bytes():
            members, other_members = _members(ones[name]), _members(others[name])
            changed = [
                member
                for member in sorted(members.keys() | other_members.keys())
                if members.get(member) != other_members.get(member)
            ]
            found.append(f"{name} differs in {', '.join(changed[:5]) or 'its order or its times'}")
    return found


def _members(archive: Path) -> dict[str, str]:
    """Return name and SHA-256 of each file of a wheel or an sdist; nothing for other files."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            return {name: hashlib.sha256(opened.read(name)).hexdigest() for name in opened.namelist()}
    if tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
            return {name: hashlib.sha256(file.read()).hexdigest() for name, file in files.items() if file}
    return {}
