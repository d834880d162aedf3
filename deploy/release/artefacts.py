"""Makes what a release publishes: distributions in dist/, lists of what they need in sbom/, and the notes.

Publishes nothing. The version of all is that of consumer/_version.py.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import changelog
import distributions
import environments
import sboms
from distributions import ROOT, Built
from programs import ReleaseError
from sboms import Listed

from consumer._version import PRODUCT, VERSION

CLIENT = f"{PRODUCT}-client"
IMAGE = f"{PRODUCT}-image"
DIST, SBOM = ROOT / "dist", ROOT / "sbom"


def version_notes() -> str:
    """Return the notes of this version.

    Raises:
        ReleaseError: CHANGELOG.md has none.
    """
    return changelog.notes_of(VERSION, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def build_dist() -> Built:
    """Build the distributions of the last commit into dist/, in place of those of earlier builds.

    Without git, as in an unpacked sdist, they are built from the files that are there.
    """
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        committed = distributions.commit_in if distributions.in_git() else distributions.tree_in
        shutil.rmtree(DIST, ignore_errors=True)
        return of_this_version(distributions.build(committed(tree), DIST))


def of_this_version(built: Built) -> Built:
    """Return the distributions, if their version is the one in the name of all else that is made.

    Raises:
        ReleaseError: they have another one, because the last commit has another one than the files here.
    """
    ours = (f"-{VERSION}-", f"-{VERSION}.tar.gz")
    if others := [path.name for path in built.files if not any(mark in path.name for mark in ours)]:
        raise ReleaseError(
            f"consumer/_version.py has the version {VERSION}, but the last commit makes {', '.join(others)}; "
            "commit the version"
        )
    return built


def list_wheels(built: Built) -> list[Listed]:
    """Write the SBOM of each distribution into sbom/, in place of those of earlier builds."""
    shutil.rmtree(SBOM, ignore_errors=True)
    SBOM.mkdir()
    listed = []
    wheels = {PRODUCT: (built.service, [built.service, built.sdist]), CLIENT: (built.client, [built.client])}
    with tempfile.TemporaryDirectory() as scratch:
        for name, (wheel, files) in wheels.items():
            folder = Path(scratch) / name
            environments.bare(folder, wheel, ROOT / "constraints.txt")
            listed.append(sboms.of_environment(folder, name, files, SBOM / f"{name}-{VERSION}.cdx.json"))
    return listed


def list_image(root: Path) -> Listed:
    """Write the SBOM of an image, whose root file system is in this folder, into sbom/."""
    SBOM.mkdir(exist_ok=True)
    return sboms.of_image(root, PRODUCT, VERSION, SBOM / f"{IMAGE}-{VERSION}.cdx.json")
