"""The home of the RabbitMQ nodes of tests: the installed server, with the plugins that tests enable."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.rabbitmq import server_home


def add_plugin(installed: Path, name: str, needs: Sequence[str] = ()) -> None:
    folder = installed / "plugins" / f"{name}-3.10.8" / "ebin"
    folder.mkdir(parents=True)
    resource = f"{{application,{name},[{{applications,[kernel,\n  {', '.join(['stdlib', *needs])}]}}]}}."
    (folder / f"{name}.app").write_text(resource)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A server with the wanted plugins, two plugins that these need, and one that is not needed."""
    found = tmp_path / "installed"
    for name in server_home.WANTED:
        add_plugin(found, name, needs=["cowboy"] if name == "rabbitmq_management" else [])
    add_plugin(found, "cowboy", needs=["cowlib"])
    add_plugin(found, "cowlib")
    add_plugin(found, "rabbitmq_shovel")
    for folder, file in (("sbin", "rabbitmq-server"), ("escript", "rabbitmqctl")):
        (found / folder).mkdir()
        (found / folder / file).write_text(file)
    return found


def test_it_links_the_wanted_plugins_and_what_they_need(installed: Path, tmp_path: Path) -> None:
    home = server_home.make(installed / "sbin" / "rabbitmq-server", tmp_path / "home")
    names = {plugin.name.partition("-")[0] for plugin in (home / "plugins").iterdir()}
    assert names == {*server_home.WANTED, "cowboy", "cowlib"}
    assert (home / "plugins" / "cowlib-3.10.8").resolve() == installed / "plugins" / "cowlib-3.10.8"


def test_its_scripts_find_this_home_and_the_rest_is_the_installed_one(installed: Path, tmp_path: Path) -> None:
    home = server_home.make(installed / "sbin" / "rabbitmq-server", tmp_path / "home")
    script = home / "sbin" / "rabbitmq-server"
    assert (script.resolve(), script.read_text()) == (script, "rabbitmq-server")
    assert (home / "escript").resolve() == installed / "escript"


def test_a_server_that_packs_its_plugins_is_used_as_it_is(installed: Path, tmp_path: Path) -> None:
    packed = installed / "plugins" / "rabbitmq_management-3.10.8"
    shutil.rmtree(packed)
    packed.with_name(f"{packed.name}.ez").write_bytes(b"")
    assert server_home.make(installed / "sbin" / "rabbitmq-server", tmp_path / "home") == installed
