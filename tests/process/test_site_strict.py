"""`make docs` fails on whatever is broken on the site, and names it; a warning would be read by nobody."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.docs_pages.pages import ROOT
from support.docs_pages.site import make

README = """# The service

[Stop it](docs/run.md#stop-it).

## Documentation

| page | for |
|---|---|
| [Run it](docs/run.md) | all |
| [Reference](docs/reference.md) | all |
"""
RUN = """# Run

![drawn](pictures/drawn.png)

## Stop it

[Back](../README.md#documentation), [here](#stop-it), [settings](../deploy/settings.toml).
"""
MODULE = '''def run() -> None:
    """Run it."""
'''
BAD_DOCSTRING = '''
def stop() -> None:
    """Stop it.

    Raises:
        ValueError, TypeError
    """
'''
#: By what is broken: the file, what is added to its end, and what the warning names.
BROKEN = {
    "a link to a page": ("docs/run.md", "[x](missing.md)", "'missing.md'"),
    "a link to a file": ("docs/run.md", "[x](../deploy/missing.toml)", "'../deploy/missing.toml'"),
    "a link to a folder": ("docs/run.md", "[x](../deploy)", "'../deploy'"),
    "an anchor of another page": ("docs/run.md", "[x](reference.md#missing)", "'#missing'"),
    "an anchor of the same page": ("docs/run.md", "[x](#lost)", "'#lost'"),
    "a picture": ("docs/run.md", "![x](pictures/missing.png)", "'pictures/missing.png'"),
    "a page that the README does not list": ("docs/lost.md", "# Lost", "docs/lost.md"),
    "a row of the README without its page": (
        "README.md",
        "| [x](docs/gone.md) | |",
        "A reference to 'docs/gone.md'",
    ),
    "the link in that row": ("README.md", "", "contains a link 'docs/gone.md'"),
    "a docstring": ("contract.py", BAD_DOCSTRING, "'ValueError, TypeError'"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a small repository whose site is whole."""
    shutil.copytree(ROOT / "docs" / "site", tmp_path / "docs" / "site")
    shutil.copy(ROOT / "docs" / "collect_site.py", tmp_path / "docs")
    for name, text in {
        "README.md": README,
        "docs/run.md": RUN,
        "docs/reference.md": "# Reference\n",
        "docs/site/api.md": "# Python API\n\n::: contract\n",
        "docs/pictures/drawn.png": "",
        "deploy/settings.toml": "",
        "contract.py": MODULE,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_site_without_a_fault_is_built_with_all_that_its_pages_link_to(tree: Path) -> None:
    made = make("docs", tree)
    assert made.returncode == 0, made.stderr
    assert "Run it." in (tree / "site/docs/api/index.html").read_text()
    assert {"index.html", "docs/run/index.html", "docs/pictures/drawn.png", "deploy/settings.toml"} <= {
        str(path.relative_to(tree / "site")) for path in (tree / "site").rglob("*")
    }


def test_each_fault_is_a_warning_that_names_it(tree: Path) -> None:
    for name, added, _ in BROKEN.values():
        append(tree / name, f"{added}\n")
    made = make("docs", tree)
    assert made.returncode != 0
    assert [what for what, (_, _, named) in BROKEN.items() if named not in made.stderr] == []
    assert f"Aborted with {len(BROKEN)} warnings in strict mode" in made.stdout


def test_one_warning_is_enough_to_fail(tree: Path) -> None:
    append(tree / "docs/run.md", "[x](#missing)\n")
    made = make("docs", tree)
    assert made.returncode != 0
    assert "Aborted with 1 warnings in strict mode" in made.stdout


def test_a_name_in_the_api_that_the_code_does_not_have_is_an_error(tree: Path) -> None:
    append(tree / "docs/site/api.md", "\n::: contract.missing\n")
    made = make("docs", tree)
    assert made.returncode != 0
    assert "contract.missing" in made.stderr


def append(file: Path, text: str) -> None:
    with file.open("a") as opened:
        opened.write(text)
