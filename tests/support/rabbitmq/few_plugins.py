"""The installed RabbitMQ with fewer plugins: a node starts with 2.3 s of CPU instead of 3.7.

A start looks for each of a thousand modules in the folders of all plugins, enabled or not. Here only those are
left that tests enable, and what they need. All else is the installed one's. `make test` starts about 30 nodes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

#: What tests enable; and the server itself, with what it uses without saying so.
ENABLED = ("rabbitmq_management", "rabbitmq_prometheus", "rabbitmq_auth_mechanism_ssl")
SERVER = ("rabbit", "rabbitmq_prelaunch", "cuttlefish", "systemd")
#: Names the RabbitMQ of private nodes (consumer/local_broker/node.py).
HOME = "RABBITMQ_HOME"
#: Names ours, so that it can be told from one that somebody else has chosen.
OURS = "RABBITMQ_OF_TESTS"
NEEDS = re.compile(r"\{(?:optional_|included_)?applications,\s*\[([^]]*)\]")


def use(folder: Path, server: Path) -> None:
    """Make `folder` a home of RabbitMQ like that of `server`, from which all nodes are started from now on."""
    installed = server.parents[1]
    if not any((installed / "plugins").glob("rabbit-[0-9]*")):
        return  # in some releases plugins are archives: those nodes start as they are
    # Copies: a script that is a link finds the home where the link leads.
    shutil.copytree(installed / "sbin", folder / "sbin")
    (folder / "escript").symlink_to(installed / "escript")
    (folder / "plugins").mkdir()
    for plugin in _needed(installed / "plugins"):
        (folder / "plugins" / plugin.name).symlink_to(plugin)
    os.environ[HOME] = os.environ[OURS] = str(folder)


def without(variables: Mapping[str, str]) -> dict[str, str]:
    """Make an environment in which nodes are those of the installed RabbitMQ, as users have them."""
    ours = {HOME, OURS} if OURS in variables else set()
    return {name: value for name, value in variables.items() if name not in ours}


def _needed(plugins: Path) -> Iterator[Path]:
    """Find the folder of each plugin or library that is wanted, or that one of them needs."""
    seen: set[str] = set()
    asked = [*ENABLED, *SERVER]
    while asked:
        name = asked.pop()
        if name in seen:
            continue
        seen.add(name)
        for plugin in plugins.glob(f"{name}-[0-9]*"):  # none: it is Erlang's own
            yield plugin
            asked += re.findall(r"\w+", " ".join(NEEDS.findall((plugin / "ebin" / f"{name}.app").read_text())))
