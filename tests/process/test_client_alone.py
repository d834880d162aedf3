"""The client is imported and works where nothing is installed but what its distribution asks for."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
#: Refuses modules that neither Python nor the client's distribution brings. Imports first what it needs itself.
BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        is_pythons = name.startswith("_sysconfigdata")  # named after the machine
        if not is_pythons and name.partition(".")[0] not in ALLOWED | sys.stdlib_module_names:
            raise ModuleNotFoundError(f"{name} is not allowed", name=name)

ALLOWED = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Blocker())
"""
ASYNC = """
import asyncio
from consumer.client import BrokerUnreachableError, Client

async def ask():
    async with Client.open("amqp://127.0.0.1:1"):
        pass

try:
    asyncio.run(ask())
except BrokerUnreachableError:
    print("unreachable")
"""
BLOCKING = """
from consumer.client import BlockingClient, BrokerUnreachableError

try:
    with BlockingClient.open("amqp://127.0.0.1:1"):
        pass
except BrokerUnreachableError:
    print("unreachable")
"""


def brought(line: str) -> Iterator[str]:
    """Give the distributions that a requirement brings, without extras."""
    requirement = Requirement(line)
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        yield requirement.name.lower().replace("_", "-")
        for below in requires(requirement.name) or []:
            yield from brought(below)


def allowed() -> set[str]:
    """Give the top-level modules that an environment of the client has."""
    project = tomllib.loads((ROOT / "deploy/client/pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = {name for line in project["dependencies"] for name in brought(line)}
    named = packages_distributions().items()
    return {module for module, names in named if {name.lower().replace("_", "-") for name in names} & installed}


def run(code: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", BLOCKED + code, ",".join({"consumer", *allowed()})]
    return subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.mark.parametrize("code", [ASYNC, BLOCKING], ids=["asyncio", "blocking"])
def test_the_client_needs_no_other_library(code: str) -> None:
    done = run(code)
    assert (done.stdout, done.stderr) == ("unreachable\n", "")


@pytest.mark.parametrize("module", ["numpy", "rich", "uvloop", "classifier", "consumer.cli.main"])
def test_what_the_service_needs_besides_is_not_there(module: str) -> None:
    assert "ModuleNotFoundError" in run(f"import {module}").stderr
