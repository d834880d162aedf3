"""The sdist is the whole repository, and the wheel made of it works where nothing else of the repository is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import distributions
import pytest
from distributions import Built
from programs import ReleaseError
from support.processes.commands import BIN
from support.processes.consumer_process import consumer
from support.processes.shell_classifiers import script
from support.waiting import PATIENCE_S

PUBLIC = ("consumer.client", "classifier.contract", "classifier.classify")
FUNCTION = """
from classifier.contract import log


def longest(job):
    log("asked")
    return {"longest": max(job["words"], key=len), "by": __file__}
"""
#: Publishes a job with each of the two clients, where nothing else of ours is installed.
ASK = """
import asyncio, importlib.util, sys
from consumer.client import BlockingClient, Client

print(importlib.util.find_spec("consumer.service") is importlib.util.find_spec("classifier"))
with BlockingClient.open(sys.argv[1]) as client:
    print(client.classify([0.5]).output["signal"])

async def ask():
    async with Client.open(sys.argv[1]) as client:
        print((await client.classify([0.5])).output["signal"])

asyncio.run(ask())
"""
#: Answers with the whole job.
ECHO = ("printf 'OUTPUT: '", 'cat "$1"', "echo")
TYPED = """
from consumer.client import Result

def shown(result: Result) -> None:
    reveal_type(result.attempt)
"""
#: What hatchling adds to the tree's files.
ADDED = "PKG-INFO"
#: Where the client's wheel keeps its modules.
CLIENT_MODULES = "rabbitmq_classifier_client/consumer"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("distributions")
    return distributions.build(distributions.tree_in(folder / "tree"), folder / "built")


@pytest.fixture(scope="module")
def unpacked(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distributions.unpack(built.sdist, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def sdist_files(unpacked: Path) -> set[str]:
    names = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    return names - {ADDED}


@pytest.fixture(scope="module")
def wheel(built: Built) -> Path:
    return built.service


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own; give its programs' folder."""
    return installed(tmp_path_factory.mktemp("environment"), wheel)


def installed(folder: Path, *wheels: Path) -> Path:
    """Install wheels into an environment that borrows what they need from ours; return its programs' folder."""
    venv.create(folder, with_pip=False, symlinks=True)
    pip(folder / "bin", "install", "--no-index", "--no-deps", *wheels)
    # Folders named in a .pth are searched last, and their own .pth files are not read: the checkout stays out. Of
    # several such files, Python reads that with the last name last.
    library = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(library) / "zz-borrowed.pth").write_text("\n".join(ours))
    return folder / "bin"


def pip(programs: Path, *arguments: str | Path) -> None:
    """Run our pip, which takes half a second, for another environment, in which to install one takes five."""
    ours = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*ours, "--python", programs / "python", *arguments, cwd=programs)


def run(*argv: str | Path, cwd: Path, **variables: str) -> str:
    """Run a program to its good end, with nothing that tells it of the checkout; give what it printed."""
    ours = ("PYTHONPATH", "VIRTUAL_ENV")
    kept = {
        name: value for name, value in os.environ.items() if name not in ours and not name.startswith("CONSUMER_")
    }
    done = subprocess.run(
        argv,
        cwd=cwd,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not distributions.in_git(), reason="git knows which files the repository has")
def test_the_sdist_holds_every_file_of_the_repository_and_nothing_else(sdist_files: set[str]) -> None:
    assert sorted(distributions.tracked() - sdist_files) == []
    assert sorted(sdist_files - distributions.tree_files()) == []


def test_a_second_build_elsewhere_is_the_same_bit_by_bit_unless_a_byte_of_the_tree_differs(
    built: Built, tmp_path: Path
) -> None:
    tree = distributions.tree_in(tmp_path / "another" / "tree")
    distributions.build(tree, tmp_path / "second", TZ="Asia/Tokyo", PYTHONHASHSEED="1")
    distributions.compare(built.sdist.parent, tmp_path / "second")
    with (tree / "consumer" / "errors.py").open("a") as file:
        file.write("#")
    distributions.build(tree, tmp_path / "third")
    with pytest.raises(ReleaseError, match=r"_client-\S+\.whl differs in .*consumer/errors\.py"):
        distributions.compare(built.sdist.parent, tmp_path / "third")


def test_what_a_script_may_do_it_may_do_in_the_sdist(unpacked: Path) -> None:
    executable = {name for name in distributions.tree_files() if os.access(distributions.ROOT / name, os.X_OK)}
    assert executable
    assert [name for name in executable if not os.access(unpacked / name, os.X_OK)] == []


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    packages = {name for name in distributions.tree_files() if name.startswith(("consumer/", "classifier/"))}
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if ".dist-info/" not in name}
    assert held == packages | {"rabbitmq_classifier.py", "rabbitmq_classifier_cli.py"}
    assert {"consumer/py.typed", "classifier/py.typed", "consumer/gateway/page.html"} <= held


def test_what_an_index_shows_of_it_links_to_no_file_of_the_repository(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        [name] = [name for name in opened.namelist() if name.endswith(".dist-info/METADATA")]
        shown = str(message_from_bytes(opened.read(name)).get_payload())
    assert "README.md" in shown  # where to read on
    assert [link for link in re.findall(r"\]\(([^)\s]+)\)", shown) if not link.startswith("https://")] == []


def test_an_installed_consumer_runs_a_job_with_a_function_of_another_folder(
    programs: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(FUNCTION)
    (tmp_path / "job.json").write_text('{"words": ["a", "longer", "word"]}')
    said = run(programs / "consumer", "try", "job.json", cwd=tmp_path, CONSUMER_CLASSIFIER="mine:longest")
    assert '"longest": "longer"' in said
    assert str(tmp_path / "mine.py") in "".join(said.split())


def test_what_is_public_is_imported_from_the_environment(programs: Path, tmp_path: Path) -> None:
    paths = ", ".join(f"{name}.__file__" for name in PUBLIC)
    found = run(programs / "python", "-c", f"import {', '.join(PUBLIC)}; print({paths})", cwd=tmp_path).split()
    assert len(found) == len(PUBLIC)
    assert [path for path in found if not Path(path).is_relative_to(programs.parent)] == []


def test_both_commands_say_the_version_of_the_wheel(programs: Path, wheel: Path, tmp_path: Path) -> None:
    _, version, *_ = wheel.name.split("-")
    for command in ("consumer", "classifier"):
        assert run(programs / command, "--version", cwd=tmp_path) == f"{command} {version}\n"


def test_the_clients_wheel_holds_the_client_and_a_path_to_it_and_no_file_of_the_services(built: Built) -> None:
    with zipfile.ZipFile(built.client) as opened:
        held = {name for name in opened.namelist() if ".dist-info/" not in name}
        path = opened.read("rabbitmq_classifier_client.pth").decode().strip()
    assert {name.partition("/consumer/")[0] for name in held} == {path, f"{path}.pth"}
    with zipfile.ZipFile(built.service) as opened:
        assert not held & set(opened.namelist())  # else to remove one would break the other


def test_the_client_alone_publishes_a_job_and_returns_its_result(
    built: Built, tmp_path: Path, vhost_url: str
) -> None:
    programs = installed(tmp_path / "environment", built.client)
    with consumer(vhost_url, command=script(tmp_path, *ECHO)):
        said = run(programs / "python", "-c", ASK, vhost_url, cwd=tmp_path)
    assert said.split() == ["True", "[0.5]", "[0.5]"]


def test_where_both_are_installed_the_services_is_used_and_either_can_be_removed(
    built: Built, tmp_path: Path
) -> None:
    programs = installed(tmp_path / "environment", built.service, built.client)
    assert CLIENT_MODULES not in used(programs)
    pip(programs, "uninstall", "--yes", "rabbitmq-classifier")
    assert CLIENT_MODULES in used(programs)
    pip(programs, "install", "--no-index", "--no-deps", built.service)
    pip(programs, "uninstall", "--yes", "rabbitmq-classifier-client")
    assert CLIENT_MODULES not in used(programs)
    assert run(programs / "consumer", "--version", cwd=tmp_path).startswith("consumer ")


def used(programs: Path) -> str:
    """Return the file of the client that Python imports, with all that it imports itself."""
    return run(programs / "python", "-c", "import consumer.client as c; print(c.__file__)", cwd=programs)


def test_a_folder_that_pip_has_filled_needs_the_clients_folder_on_the_path(built: Built, tmp_path: Path) -> None:
    target = tmp_path / "target"
    pip(BIN, "install", "--no-index", "--no-deps", "--target", target, built.client)
    path = os.pathsep.join(map(str, (target, target / "rabbitmq_classifier_client")))
    said = run(
        sys.executable, "-c", "import consumer.client as c; print(c.__file__)", cwd=tmp_path, PYTHONPATH=path
    )
    assert CLIENT_MODULES in said


def test_a_type_checker_finds_the_types_of_the_client(built: Built, tmp_path: Path) -> None:
    programs = installed(tmp_path / "environment", built.client)
    (tmp_path / "user.py").write_text(TYPED)
    options = ["--python-executable", str(programs / "python"), "--cache-dir", os.devnull]
    assert 'Revealed type is "int"' in run(BIN / "mypy", *options, "user.py", cwd=tmp_path)
