"""Makes the lists of what is in each artefact (SBOMs), in CycloneDX's JSON, and checks them against its schema.

cyclonedx-py lists the Python packages of an environment, debsbom the Debian packages of an image. Neither knows
what the other finds, so the list of an image is made from both. The versions are those of constraints.txt, which
the tests ran with.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from distributions import sha256_of
from packageurl import PackageURL
from programs import ReleaseError, output_of

BIN = Path(sys.executable).parent
#: Where deploy/Dockerfile installs the service.
IN_IMAGE = Path("opt/consumer")
#: Of debsbom: in the same version of the schema, with the licences that Debian's packages declare.
DEBIAN = ("--sbom-type", "cdx", "--cdx-schema-version", "1.6", "--with-licenses")


@dataclass(frozen=True)
class Listed:
    """An SBOM in a file, and how many components it lists."""

    path: Path
    components: int


def of_environment(folder: Path, name: str, files: Sequence[Path], into: Path) -> Listed:
    """List a distribution, and what is installed beside it in an environment that has nothing else.

    Args:
        folder: the environment.
        name: the name of the distribution.
        files: the distribution as it is published: the list names them with their SHA-256.
        into: the file to write.

    Raises:
        ReleaseError: a program failed, or the list is not valid.
    """
    [library] = folder.glob("lib/python3*/site-packages")
    [product] = distributions(name=name, path=[str(library)])
    with tempfile.TemporaryDirectory() as scratch:
        project, listed = Path(scratch) / "pyproject.toml", Path(scratch) / "listed.cdx.json"
        project.write_text(_project(product))
        _list_python(folder, listed, "--pyproject", project, "--mc-type", "application")
        bom = _read(listed)
    if bom.metadata.component is None:
        raise ReleaseError(f"cyclonedx-py did not list {name} itself")
    bom.metadata.component.purl = PackageURL("pypi", None, name, product.version)
    bom.metadata.component.external_references.update(map(_published, files))
    return _written(bom, into)


def _published(file: Path) -> ExternalReference:
    digest = HashType(alg=HashAlgorithm.SHA_256, content=sha256_of(file))
    return ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(file.name), hashes=[digest])


def _project(product: Distribution) -> str:
    """Write a pyproject.toml of an installed distribution, which cyclonedx-py reads for the root of its list."""
    required = [line for line in product.requires or [] if "extra ==" not in line]
    fields = {
        "name": product.name,
        "version": product.version,
        "description": product.metadata["Summary"],
        "license": product.metadata["License-Expression"],
        "dependencies": required,
    }
    # Strings and lists of JSON are those of TOML.
    return "\n".join(["[project]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())])


def of_image(root: Path, name: str, version: str, into: Path) -> Listed:
    """List the Debian and Python packages, and the Python itself, in the unpacked root file system of an image.

    Raises:
        ReleaseError: a program failed, or the list is not valid.
    """
    with tempfile.TemporaryDirectory() as scratch:
        debian, python = Path(scratch) / "debian.cdx.json", Path(scratch) / "python.cdx.json"
        output_of([BIN / "debsbom", "generate", *DEBIAN, "--root", root, "--out", debian])
        _list_python(_environment_of(root, Path(scratch)), python)
        return _written(_joined([_read(debian), _read(python)], name, version, _python_of(root)), into)


def _list_python(environment: Path, into: Path, *options: str | Path) -> None:
    python = environment / "bin" / "python"
    format_ = ["--spec-version", "1.6", "--output-format", "JSON", "--output-file", str(into)]
    output_of([BIN / "cyclonedx-py", "environment", *format_, *options, python])


def _environment_of(root: Path, scratch: Path) -> Path:
    """Make an environment here of the packages in the image, whose own Python does not run outside of it."""
    [library] = (root / IN_IMAGE).glob("lib/python3*/site-packages")
    python = scratch / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # cyclonedx-py asks a Python for its path only.
    python.write_text(f"#!/bin/sh\nprintf '%s' '{json.dumps([str(library)])}'\n")
    python.chmod(0o755)
    return scratch / "environment"


def _python_of(root: Path) -> Component:
    """Return the Python of the image, which is no Debian package in Python's own images."""
    lines = (root / IN_IMAGE / "pyvenv.cfg").read_text().splitlines()
    [version] = [line.partition("=")[2].strip() for line in lines if line.partition("=")[0].strip() == "version"]
    purl = PackageURL("generic", None, "python", version)
    return Component(name="python", version=version, type=ComponentType.PLATFORM, purl=purl, bom_ref="python")


def _joined(parts: list[Bom], name: str, version: str, python: Component) -> Bom:
    """Join lists of an image's packages to one."""
    image = Component(name=name, version=version, type=ComponentType.CONTAINER, bom_ref="image")
    joined = Bom(components=[python])
    joined.metadata.component = image
    for part in parts:
        joined.components.update(part.components, filter(None, [part.metadata.component]))  # Debian itself
        joined.dependencies.update(part.dependencies)
        joined.metadata.tools.components.update(part.metadata.tools.components)
    joined.register_dependency(image, joined.components)
    return joined


def _read(path: Path) -> Bom:
    read: Bom = Bom.from_json(json.loads(path.read_text()))  # type: ignore[attr-defined] # of a decorator
    return read


def _written(bom: Bom, into: Path) -> Listed:
    into.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n")
    return checked(into)


def checked(path: Path) -> Listed:
    """Check an SBOM against CycloneDX's schema; return it with the number of its components.

    Raises:
        ReleaseError: it is not valid, or it lists nothing.
    """
    text = path.read_text()
    if fault := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ReleaseError(f"{path.name} is no valid SBOM (CycloneDX 1.6): {fault!r:.500}")
    listed = json.loads(text).get("components", [])
    if not listed:
        raise ReleaseError(f"{path.name} lists no components; look at what it was made from")
    return Listed(path, len(listed))
