"""The sdist is the whole repository, and the wheel made of it works where nothing else of the repository is."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import distributions
import pytest
from support.waiting import PATIENCE_S

PUBLIC = ("consumer.client", "classifier.contract", "classifier.classify")
FUNCTION = """
from classifier.contract import log


def longest(job):
    log("asked")
    return {"longest": max(job["words"], key=len), "by": __file__}
"""
#: What setuptools adds to the tree's files.
ADDED = re.compile(r"PKG-INFO|setup\.cfg|[^/]+\.egg-info/.*")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    sdist = distributions.build("sdist", distributions.tree_in(folder / "tree"), folder)
    return distributions.unpack(sdist, folder / "unpacked")


@pytest.fixture(scope="module")
def sdist_files(unpacked: Path) -> set[str]:
    """Give the names in the sdist before anything is built from it."""
    names = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    return {name for name in names if not ADDED.fullmatch(name)}


@pytest.fixture(scope="module")
def wheel(unpacked: Path, sdist_files: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert sdist_files
    return distributions.build("wheel", unpacked, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment that borrows what it needs from ours; give its programs' folder."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
    # Folders named in a .pth are searched last, and their own .pth files are not read: the checkout stays out.
    library = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(library) / "borrowed.pth").write_text("\n".join(ours))
    return folder / "bin"


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
    assert sorted(distributions.tracked() - sdist_files) == []  # MANIFEST.in says what is in it
    assert sorted(sdist_files - distributions.tree_files()) == []


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
