"""The commands of a release: `release.py dist`, `sbom`, `notes` and `rehearse`; `--help` says what each does.

Each has a target in the Makefile. They publish nothing. The extra `release` has what they need.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import artefacts
import rehearsal
from programs import ReleaseError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments`, by default the process's own; return the exit code."""
    parser = argparse.ArgumentParser(description="The commands of a release, short of publishing.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    commands.add_parser("dist", help="build sdist and wheels into dist/")
    listing = commands.add_parser("sbom", help="list what they need in sbom/")
    listing.add_argument("--image-root", type=Path, metavar="DIR", help="list this unpacked image, too")
    commands.add_parser("notes", help="print the notes of this version")
    commands.add_parser("rehearse", help="do all that a release does, short of publishing")
    given = parser.parse_args(arguments)
    try:
        _run(given)
    except ReleaseError as failed:
        sys.stderr.write(f"FAILED: {failed}\n")
        return 1
    return os.EX_OK


def _run(given: argparse.Namespace) -> None:
    if given.command == "dist":
        for path in artefacts.build_dist().files:
            _show(f"dist/{path.name}")
    elif given.command == "sbom":
        listed = artefacts.list_wheels(artefacts.build_dist())
        listed += [artefacts.list_image(given.image_root)] if given.image_root else []
        for each in listed:
            _show(f"sbom/{each.path.name}: {each.components} components")
    elif given.command == "notes":
        _show(artefacts.version_notes())
    else:
        rehearsal.rehearse(_show)


def _show(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
