"""Values that are made for each job are like frozen dataclasses, but only mypy refuses an assignment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.job import Crashed, InvalidOutput, Request

REQUEST = Request(id="m1", correlation_id="c")


def test_equal_values_are_one_key() -> None:
    assert {REQUEST: 1, replace(REQUEST): 2} == {Request(id="m1", correlation_id="c"): 2}
    assert replace(REQUEST, attempt=2) != REQUEST


def test_a_value_of_another_class_is_another_value() -> None:
    assert Crashed(message="why") != InvalidOutput(message="why")


def test_a_value_has_only_its_fields() -> None:
    with pytest.raises(AttributeError):
        REQUEST.reply = "to"  # type: ignore[attr-defined]
