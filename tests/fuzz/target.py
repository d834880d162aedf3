"""One target under libFuzzer: `python -m fuzz.target NAME [libFuzzer's arguments]`. The only module with atheris.

Coverage is of our modules and pamqp; what is compiled (pydantic) is beyond it.
"""

from __future__ import annotations

import importlib
import sys

import atheris

from fuzz import module_name


def main(name: str, arguments: list[str]) -> None:
    with atheris.instrument_imports(include=["classifier", "consumer", "pamqp"]):
        target = importlib.import_module(module_name(name))
    atheris.Setup([name, *arguments], target.one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
