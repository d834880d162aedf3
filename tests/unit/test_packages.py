"""Where things are: each package's `__init__` lists its files, and no package grows out of hand."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: More modules than these in one place are no longer found by reading their names.
MOST_MODULES, MOST_AT_THE_ROOT = 22, 12
PRODUCT = ("consumer", "classifier")
TESTS = ROOT / "tests"
#: Of the tests' own packages, those that are read rather than run.
TESTS_PACKAGES = ("tests/support", "tests/storm", "tests/pictures")


def packages() -> list[Path]:
    return sorted(path.parent for top in (*PRODUCT, *TESTS_PACKAGES) for path in (ROOT / top).rglob("__init__.py"))


def modules(package: Path) -> set[str]:
    return {path.name for path in package.glob("*.py")} - {"__init__.py"}


def below(package: Path) -> set[str]:
    return {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}


def purpose(package: Path) -> str:
    return ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""


def name(package: Path) -> str:
    return str(package.relative_to(ROOT))


@pytest.mark.parametrize("package", packages(), ids=name)
def test_a_package_states_its_rule_and_lists_its_files(package: Path) -> None:
    rule, *listed = purpose(package).splitlines()
    words = {word.strip(",") for line in listed for word in line.split()}
    assert rule.endswith(".")
    for module in modules(package):
        assert module in words, f"{name(package)}/__init__.py does not say what {module} is for"
    for package_below in below(package):
        assert words & {package_below, package_below.rstrip("/")}


@pytest.mark.parametrize("package", packages(), ids=name)
def test_what_a_package_lists_is_there(package: Path) -> None:
    listed = {line.split()[0].strip(",") for line in purpose(package).splitlines()[1:] if ".py " in f"{line} "}
    named = {word for word in listed if word.endswith(".py")}
    assert named <= modules(package)


@pytest.mark.parametrize("package", packages(), ids=name)
def test_a_package_has_no_more_modules_than_one_can_look_over(package: Path) -> None:
    at_the_root = package.parent == ROOT
    assert len(modules(package)) <= (MOST_AT_THE_ROOT if at_the_root else MOST_MODULES)


def public_classes() -> list[tuple[str, Path]]:
    return [
        (node.name, path)
        for top in PRODUCT
        for path in sorted((ROOT / top).rglob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]


def test_no_public_class_name_is_defined_twice() -> None:
    counted = Counter(class_name for class_name, _ in public_classes())
    twice = {
        class_name: [str(path.relative_to(ROOT)) for other, path in public_classes() if other == class_name]
        for class_name, count in counted.items()
        if count > 1
    }
    assert twice == {}


def imported(file: Path) -> set[str]:
    """The modules that a file imports, and the names from them, which may be modules."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return found


def test_no_helper_lies_flat_beside_the_folders_of_tests() -> None:
    assert {path.name for path in TESTS.iterdir() if path.is_file()} == {"conftest.py"}


def test_what_support_holds_is_used_by_more_than_one_folder() -> None:
    """Else it belongs into that folder, or is a part of another helper. Fakes are together, whoever uses them."""
    users: dict[str, set[str]] = {
        ".".join(path.relative_to(TESTS).with_suffix("").parts): set()
        for path in (TESTS / "support").rglob("*.py")
        if path.name != "__init__.py" and path.parent.name != "fakes"
    }
    for path in TESTS.rglob("*.py"):
        for module in imported(path) & users.keys():
            users[module].add(path.relative_to(TESTS).parts[0])
    assert {module: used for module, used in users.items() if len(used) < 2 and used != {"support"}} == {}
