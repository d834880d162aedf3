"""The base class of all groups of settings: freezes the values, and refuses those that the kernel would refuse."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

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
#: A text that is a choice, in a setting that may also be a number.
AUTO = "auto"

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


def lower(value: object) -> object:
    """Lower the case of a text, before it is compared with choices."""
    return value.lower() if isinstance(value, str) else value


def _is_number(kind: Any) -> bool:  # noqa: ANN401 - an annotation may be any object
    """Return whether an annotation allows a number."""
    if get_origin(kind) is Annotated:
        return _is_number(get_args(kind)[0])
    return kind in (int, float) or any(map(_is_number, get_args(kind)))


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

    # `defer_build`: only `Settings` checks values, at its first use. Otherwise each group would build a validator
    # that nothing uses, too, and a command that reads no setting would build all of them: 35 ms of CPU.
    model_config = ConfigDict(frozen=True, extra="forbid", regex_engine="python-re", defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """Refuse what is no number where one is expected: pydantic would read true and false as 1 and 0."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false are not allowed here")
        if isinstance(value, float) and math.isnan(value):  # a file may have one, and it is above no limit
            raise ValueError("not a number")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _text_may_be_a_number_in_units(cls, value: object, info: ValidationInfo) -> object:
        """Read the text of a number: pydantic would also take `1_000`, `1e3` and `nan`."""
        name = str(info.field_name)
        if isinstance(value, str) and value.lower() != AUTO and _is_number(cls.model_fields[name].annotation):
            return units.in_units(name, value)
        return value

    @field_validator("*")
    @classmethod
    def _number_is_one_of_a_machine(cls, value: object) -> object:
        """Refuse a number that the kernel does not accept as a limit: every job would fail."""
        if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
            raise ValueError("more than any machine has")
        return value

    @field_validator("*")
    @classmethod
    def _system_takes_every_text(cls, value: object) -> object:
        for part in value if isinstance(value, tuple) else (value,):
            text = part.get_secret_value() if isinstance(part, SecretStr) else part
            if isinstance(text, str | Path):
                _check_encodable(str(text))
        return value
