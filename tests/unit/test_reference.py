"""docs/reference.md is what the code makes of itself."""

from __future__ import annotations

import pytest
import reference
from support.docs_pages.pages import text_of

from consumer import errors
from consumer.cli import main
from consumer.cli.dead_letters import show
from consumer.config.settings import Settings
from consumer.job import ErrorCode
from consumer.telemetry.metrics import NAMES

PAGE = text_of("docs/reference.md")
#: Where commands define their exit codes.
MODULES: tuple[object, ...] = (main, show, *(entry.load() for entry in main.COMMANDS.values()))


def test_the_page_is_what_the_code_makes() -> None:
    assert reference.text() == PAGE, "outdated; renew: make reference"


@pytest.mark.parametrize("name", [*Settings.model_fields, *NAMES, *ErrorCode])
def test_every_name_has_its_row(name: str) -> None:
    assert f"\n| `{name}` |" in PAGE


def test_every_exit_code_has_its_meaning() -> None:
    own = {value for module in MODULES for name, value in vars(module).items() if name.startswith("EXIT_")}
    raised = {error.exit_code for error in errors.ConsumerError.__subclasses__()}
    assert own | raised <= reference.EXIT_CODES.keys()


def test_every_argument_has_a_meaning() -> None:
    assert [line for line in PAGE.splitlines() if line.endswith("|  |") and line.startswith("| `-")] == []


def test_what_would_be_html_is_text() -> None:
    assert reference.plain("to <prefix>.results, `<code>`") == "to &lt;prefix>.results, `<code>`"
