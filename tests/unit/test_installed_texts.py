"""What an installed service says points to no file of the repository, which its user does not have."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("consumer", "classifier")
#: Of the repository: its pages, its folders beside the packages, its targets.
POINTING = re.compile(
    r"(?:deploy|docs|tests)/|\w\.md\b|README|CHANGELOG|CONTRIBUTING|Makefile|\bmake (?:demo|run|test)\b"
)
#: Made of the code and its docstrings, and shown to callers by `consumer gateway` and `consumer asyncapi`.
DOCUMENTS = ("deploy/openapi.json", "deploy/asyncapi.json")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def pointing(code: str) -> list[str]:
    return [text for text in strings(code) if POINTING.search(text)]


def strings(code: str) -> Iterator[str]:
    """Give all texts of a module but its docstrings, which its users do not see."""
    tree = ast.parse(code)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, DOCUMENTED) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def installed() -> Iterator[Path]:
    """Give all files that a wheel installs."""
    yield from ROOT.glob("rabbitmq_classifier*.py")
    for package in PACKAGES:
        yield from (path for path in (ROOT / package).rglob("*") if path.is_file() and path.suffix != ".pyc")


def test_no_text_of_a_module_points_to_a_file_of_the_repository() -> None:
    modules = [path for path in installed() if path.suffix == ".py"]
    assert len(modules) > 100
    found = {str(path): pointing(path.read_text(encoding="utf-8")) for path in modules}
    assert {path: texts for path, texts in found.items() if texts} == {}


def test_no_page_or_document_of_the_gateway_does() -> None:
    shown = [*(path for path in installed() if path.suffix != ".py"), *(ROOT / name for name in DOCUMENTS)]
    assert len(shown) > len(DOCUMENTS)
    assert [str(path) for path in shown if POINTING.search(path.read_text(encoding="utf-8"))] == []


def test_such_a_text_would_be_found() -> None:
    code = """'''See docs/walk.md.'''
raise ValueError(f"{x} is wrong; see docs/walk.md")
print("See the README, or try `make demo`")
"""
    assert {*pointing(code)} == {" is wrong; see docs/walk.md", "See the README, or try `make demo`"}
