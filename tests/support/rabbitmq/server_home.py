"""Makes a RABBITMQ_HOME with the plugins that tests enable: a node of it starts in half the CPU time.

RabbitMQ puts the folder of every installed plugin on Erlang's code path. At a start, Erlang looks for each of a
thousand modules in one folder after another: 53,000 times in vain with Debian's 70 folders. The home has links to
some of these folders, so a node runs the installed code.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

#: What a node starts with, and the plugins that tests enable.
WANTED = (
    "rabbit",
    "rabbitmq_prelaunch",
    "rabbitmq_management",
    "rabbitmq_auth_mechanism_ssl",
    "rabbitmq_prometheus",
)


def make(server: Path, home: Path) -> Path:
    """Make a home of an installed `rabbitmq-server`; return it, or the server's own if it packs its plugins."""
    installed = server.parents[1]
    folders = {
        folder.name.rpartition("-")[0]: folder
        for folder in (installed / "plugins").glob("*-*")
        if (folder / "ebin").is_dir()
    }
    if not set(WANTED) <= set(folders):
        return installed
    plugins = home / "plugins"
    plugins.mkdir(parents=True)
    for name in sorted(_needed(folders)):
        (plugins / folders[name].name).symlink_to(folders[name])
    shutil.copytree(installed / "sbin", home / "sbin")  # no links: the scripts find their home by their own place
    for other in installed.iterdir():
        if other.name not in ("plugins", "sbin"):
            (home / other.name).symlink_to(other)
    return home


def _needed(folders: Mapping[str, Path]) -> set[str]:
    """Return the wanted applications, and those that they need."""
    needed: set[str] = set()
    left = [*WANTED]
    while left:
        if (name := left.pop()) in folders and name not in needed:
            needed.add(name)
            left += _applications(folders[name] / "ebin" / f"{name}.app")
    return needed


def _applications(resource: Path) -> Iterator[str]:
    """Read which applications one needs, of its resource file."""
    found = re.search(r"\{applications,\s*\[(.*?)\]", resource.read_text(), re.DOTALL)
    yield from re.findall(r"\w+", found[1] if found else "")
