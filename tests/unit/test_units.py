"""Times and sizes in units: in every source of settings, for every setting whose name ends in its unit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifier.models import model
from consumer.config import units
from consumer.config.loader import load
from consumer.config.settings import Settings
from consumer.errors import ConfigurationError

TIMES = {"90": 90, "90s": 90, "5m": 300, "5min": 300, "1.5h": 5400, "2d": 172_800, "500ms": 0.5, ".5 h": 1800}
SIZES = {
    "2G": 2 * 10**9,
    "2GB": 2 * 10**9,
    "500MiB": 500 * 2**20,
    "500Mi": 500 * 2**20,
    "1.5k": 1500,
    "64 KiB": 65536,
}


@pytest.mark.parametrize(("text", "value"), TIMES.items())
def test_a_time_is_read_in_every_unit(text: str, value: float) -> None:
    assert units.seconds(text) == value


@pytest.mark.parametrize(("text", "value"), SIZES.items())
def test_a_size_is_read_in_every_unit(text: str, value: int) -> None:
    assert units.in_units("max_memory_bytes", text) == value


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name.endswith(("_s", "_bytes"))])
def test_every_time_and_size_takes_units_in_a_flag_a_variable_and_the_file(name: str, tmp_path: Path) -> None:
    text, value = ("10m", 600) if name.endswith("_s") else ("32KiB", 32_768)
    if name in ("max_memory_bytes", "max_worker_growth_bytes", "max_folder_bytes"):
        text, value = "1G", 10**9
    file = tmp_path / "service.toml"
    file.write_text(f'{name} = "{text}"')
    others = {"job_timeout_s": "1s", "consumer_timeout_s": "1d"} if name.endswith("_s") else {}
    rest = {other: given for other, given in others.items() if other != name}
    variable = {f"CONSUMER_{name.upper()}": text}
    if name == "consumer_timeout_s":
        rest["job_timeout_cap_s"] = "5m"
    for settings in (load({**rest, name: text}, {}), load(rest, variable), load(rest, {}, file)):
        assert getattr(settings, name) == value


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("job_timeout_s", "5x", "not a time"),
        ("job_timeout_s", "5M", "not a time"),  # is it months?
        ("job_timeout_s", "2GiB", "not a time"),
        ("job_timeout_s", "soon", "not a time: write seconds, or a number with ms"),
        ("max_body_bytes", "5m5", "not a size: write bytes, or a number with K"),
        ("pool_size", "2.5", "not a whole number; `consumer settings pool_size` explains it"),
        ("max_body_bytes", "5h", "not a size"),
        ("max_body_bytes", "1T", "must be at most 128MiB"),
        *(("job_timeout_s", text, "not a time") for text in ("1e3", "1_0", "nan", "inf", "0x10", "", "1e3ms")),
        *(("max_body_bytes", text, "not a size") for text in ("1e3", "1_000", "nan", "1.5", "1e3K")),
        *(("pool_size", text, "not a whole number") for text in ("1e1", "1_0", "4.0", "0x4", "4s")),
    ],
)
def test_a_wrong_unit_is_refused_with_those_that_there_are(name: str, text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} = '{text}' from --.*{reason}"):
        load({name: text}, {})


def test_texts_are_left_alone() -> None:
    assert load({"prefix": "5m"}, {}).prefix == "5m"


@given(st.sampled_from(["x_s", "x_bytes"]), st.integers(1, 10**15))
def test_what_is_shown_is_read_as_the_same_value(name: str, value: int) -> None:
    shown = units.shown(name, value)
    read = units.in_units(name, shown)
    assert read == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("x_s", 60.0, "1m"),
        ("x_s", 90.0, "90s"),
        ("x_s", 0.2, "200ms"),
        ("x_s", 0, "0"),
        ("x_bytes", 2**31, "2GiB"),
        ("x_bytes", 16_000_000, "16MB"),
        ("x_bytes", 2 * 10**9, "2GB"),
        ("x_bytes", 1001, "1001"),
        ("x", True, "true"),
        ("x", 1000, "1000"),
    ],
)
def test_a_value_is_shown_in_the_largest_unit_that_loses_no_digit(name: str, value: object, text: str) -> None:
    assert units.shown(name, value) == text


@pytest.mark.parametrize("text", [*SIZES, "1048576"])
def test_the_classifier_reads_its_one_size_as_the_service_does(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(model.SIZE_VARIABLE, text)
    assert model.largest() == load({"max_model_bytes": text}, {}).max_model_bytes


@pytest.mark.parametrize(("size", "text"), [(2**31, "2GiB"), (1001, "1001 bytes"), (0, "0 bytes"), (1024, "1KiB")])
def test_a_limit_in_a_sentence_has_a_unit(size: int, text: str) -> None:
    assert units.limit(size) == text
