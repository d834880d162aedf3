"""The README's reference tables say what the code says: a row here is made from the code and must stand there."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from consumer import cli, errors, probe
from consumer.job import ErrorCode
from consumer.metrics import NAMES
from consumer.registry import prometheus_name
from consumer.settings import Settings

README = (Path(__file__).parents[2] / "README.md").read_text()


def setting_row(name: str, field: FieldInfo) -> str:
    default = "" if field.default_factory or field.default in (None, ()) else f"`{_plain(field.default)}`"
    return f"| `{name}` | {default} | {field.description} |"


def _plain(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_its_row(name: str) -> None:
    assert setting_row(name, Settings.model_fields[name]) in README


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_has_its_row(name: str) -> None:
    kind, _, meaning = NAMES[name].partition(": ")
    assert f"| `{name}` | `{prometheus_name(name, kind)}` | {kind} | {meaning} |" in README


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_has_its_row(code: ErrorCode) -> None:
    assert f"| `{code}` |" in README


def test_every_exit_code_has_its_row() -> None:
    own = [value for module in (cli, probe) for name, value in vars(module).items() if name.startswith("EXIT_")]
    raised = [error.exit_code for error in errors.ConsumerError.__subclasses__()]
    for code in [*own, *raised]:
        assert f"| {code} |" in README
