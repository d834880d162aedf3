"""The distribution for producers holds what its client imports, asks for what that needs, and for nothing else."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import grimp
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
CLIENT = "consumer.client"
#: Come with what the client's distribution asks for, and are used through it.
BROUGHT = {"pamqp", "pydantic-core", "yarl"}


def project(folder: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """The imports of all modules, those inside of functions, too."""
    return grimp.build_graph("consumer", include_external_packages=True, cache_dir=None)


@pytest.fixture(scope="module")
def needed(imports: grimp.ImportGraph) -> set[str]:
    """The modules that the client imports, with the packages that they are in."""
    found = {CLIENT, *imports.find_descendants(CLIENT), *imports.find_upstream_modules(CLIENT, as_package=True)}
    parts = [module.split(".") for module in found]
    return {".".join(words[: count + 1]) for words in parts for count in range(len(words))}


def file_of(module: str) -> str:
    package = Path(*module.split("."), "__init__.py")
    return str(package if (ROOT / package).is_file() else Path(*module.split(".")).with_suffix(".py"))


def included() -> dict[str, str]:
    wheel = project("deploy/client")["tool"]["hatch"]["build"]["targets"]["wheel"]
    return {source.removeprefix("../../"): target for source, target in wheel["force-include"].items()}


def test_it_holds_the_modules_that_the_client_imports_and_no_others(needed: set[str]) -> None:
    ours = {file_of(module) for module in needed if module.partition(".")[0] == "consumer"}
    folder = file_of(CLIENT).removesuffix("/__init__.py")
    modules = {file for file in ours if Path(file).parent != Path(folder)}
    assert included().keys() == modules | {folder, "consumer/py.typed", "rabbitmq_classifier_client.pth"}


def test_its_modules_are_in_one_folder_which_a_pth_file_names() -> None:
    folder = (ROOT / "deploy/client/rabbitmq_classifier_client.pth").read_text().strip()
    placed = {source: target for source, target in included().items() if not source.endswith(".pth")}
    assert placed == {source: f"{folder}/{source}" for source in placed}


def test_it_asks_for_the_libraries_that_its_modules_import_and_no_others(needed: set[str]) -> None:
    names = packages_distributions()
    outside = {module.partition(".")[0] for module in needed} - {"consumer"} - sys.stdlib_module_names
    libraries = {name.lower().replace("_", "-") for module in outside for name in names[module]}
    asked = {Requirement(line).name for line in project("deploy/client")["project"]["dependencies"]}
    assert asked == libraries - BROUGHT


def test_its_bounds_its_pythons_and_its_license_are_those_of_the_service() -> None:
    service, client = project(".")["project"], project("deploy/client")["project"]
    assert set(client["dependencies"]) <= set(service["dependencies"])
    assert client["requires-python"] == service["requires-python"]
    assert pythons_of(client) == pythons_of(service) != []
    assert (ROOT / "deploy/client/LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def pythons_of(project: Mapping[str, Any]) -> list[str]:
    return [line for line in project["classifiers"] if line.startswith("Programming Language")]


def test_the_version_of_both_is_read_from_one_file() -> None:
    read = [
        ROOT / folder / project(folder)["tool"]["hatch"]["version"]["path"] for folder in (".", "deploy/client")
    ]
    assert {path.resolve() for path in read} == {ROOT / "consumer/_version.py"}
