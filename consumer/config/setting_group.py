"""The base class of all groups of settings: freezes the values, and refuses those that the kernel would refuse."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from consumer.config import units

#: An exbibyte: the sum of several still fits into the kernel's 64 bits.
MAX_NUMBER = 2**60

T = TypeVar("T")


def _from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("not a JSON list") from None


#: A list: a TOML list in the settings file, JSON in a variable or flag.
FromJson = Annotated[T, BeforeValidator(_from_json)]


def checked(check: Callable[[str], str | None]) -> AfterValidator:
    """Return a validator of a text or secret. `check` returns the fault, or raises a ValueError with it."""

    def validate(value: str | SecretStr) -> str | SecretStr:
        if fault := check(value.get_secret_value() if isinstance(value, SecretStr) else value):
            raise ValueError(fault)
        return value

    return AfterValidator(validate)


def _check_encodable(text: str) -> None:
    """Check that a text can be a file name, an argument or a host name."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        raise ValueError("contains half of a surrogate pair, which is no character") from None
    if b"\0" in encoded:
        raise ValueError("contains a NUL character")


class SettingGroup(BaseModel):
    """Settings of one subject. docs/reference.md and each error about a field contain the field's description.

    Times are in seconds, sizes in bytes; a text may have a unit (units.py). Neither files nor the environment are
    read here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="python-re")

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """Refuse true and false where a number is expected: pydantic would read them as 1 and 0."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false are not allowed here")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _text_may_have_a_unit(cls, value: object, info: ValidationInfo) -> object:
        return units.in_units(str(info.field_name), value)

    @field_validator("*")
    @classmethod
    def _number_is_one_of_a_machine(cls, value: object) -> object:
        """Refuse a number that the kernel does not accept as a limit: every job would fail."""
        if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
            raise ValueError(f"exceeds {MAX_NUMBER}, more than any machine has")
        return value

    @field_validator("*")
    @classmethod
    def _system_takes_every_text(cls, value: object) -> object:
        for part in value if isinstance(value, tuple) else (value,):
            text = part.get_secret_value() if isinstance(part, SecretStr) else part
            if isinstance(text, str | Path):
                _check_encodable(str(text))
        return value
