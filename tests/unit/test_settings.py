"""The settings: which source wins, what a wrong value's message says, and that no password gets out."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from consumer.config.amqp_url import redacted
from consumer.config.credentials import Credentials
from consumer.config.loader import load, unknown_variables
from consumer.config.settings import Settings
from consumer.config.sources import asks_for_json
from consumer.errors import ConfigurationError

SECRET = "hunter2"  # noqa: S105 - it is what must not be found
#: What a variable may hold: any bytes but NUL, as Python reads them; and pieces that get further than those.
TEXTS = (
    st.binary(min_size=1, max_size=20).map(lambda value: os.fsdecode(value.replace(b"\0", b"")))
    | st.from_regex(r"-?[0-9]{1,5}(\.[0-9]+|e[0-9]+)?|true|nan|inf", fullmatch=True)
    | st.lists(st.sampled_from([*"()[]{}?*+|\\<>:,=#.a1\n", "(?P", '"a"']), max_size=8).map("".join)
)
URLS = st.lists(
    st.sampled_from(
        ["amqp://", "amqps://", SECRET, "u", *":/@?#[]%&= ,\n", "host", "56", "auth=EXTERNAL", "\udcff"]
    ),
    max_size=10,
).map("".join)


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "service.toml"
    path.write_text(text)
    return path


def complaint(flags: dict[str, Any], environment: dict[str, str], config: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(flags, environment, config)
    return str(caught.value)


def test_each_source_wins_over_the_next(tmp_path: Path) -> None:
    config = toml(tmp_path, "max_attempts = 4")
    environment = {"CONSUMER_MAX_ATTEMPTS": "5"}
    assert load({}, {}).max_attempts == 3
    assert load({}, {}, config).max_attempts == 4
    assert load({}, environment, config).max_attempts == 5
    assert load({"max_attempts": 6}, environment, config).max_attempts == 6


def test_sources_are_mixed_setting_by_setting(tmp_path: Path) -> None:
    config = toml(tmp_path, 'prefix = "file"\nmax_attempts = 4\nstatsd_port = 1')
    settings = load({"statsd_port": 3}, {"CONSUMER_MAX_ATTEMPTS": "5", "CONSUMER_STATSD_PORT": "2"}, config)
    assert (settings.prefix, settings.max_attempts, settings.statsd_port) == ("file", 5, 3)


def test_the_file_is_named_in_the_environment_unless_a_flag_names_another(tmp_path: Path) -> None:
    named = toml(tmp_path, 'prefix = "named"')
    other = tmp_path / "other.toml"
    other.write_text('prefix = "other"')
    environment = {"CONSUMER_CONFIG": str(named)}
    assert load({}, environment).prefix == "named"
    assert load({}, environment, other).prefix == "other"
    assert load({}, {"CONSUMER_CONFIG": ""}).prefix == "classifier"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load({}, {"CONSUMER_STATSD_HOST": "", "CONSUMER_POOL_SIZE": ""}).statsd_host is None
    assert load({}, {"CONSUMER_DECLARE": "", "CONSUMER_PREFIX": ""}).declare


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("pool_size", "4", 4),
        ("declare", "false", False),
        ("drop_if_caller_gone", "true", True),
        ("job_timeout_s", "0.5", 0.5),
        ("command", '["a", "b c"]', ("a", "b c")),
        ("pass_environment", '["MY_REGION"]', ("MY_REGION",)),
        ("models_dir", "/srv/models", Path("/srv/models")),
        ("trusted_models", "/etc/pins", Path("/etc/pins")),
        ("classifier", "pack.age:function", "pack.age:function"),
        ("statsd_host", "localhost", "localhost"),
    ],
)
def test_the_environment_gives_every_kind_of_value(name: str, text: str, value: object) -> None:
    assert getattr(load({}, {f"CONSUMER_{name.upper()}": text}), name) == value


def test_a_file_gives_lists_as_lists(tmp_path: Path) -> None:
    assert load({}, {}, toml(tmp_path, 'command = ["a", "b"]')).command == ("a", "b")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_takes(name: str) -> None:
    assert Settings.model_fields[name].description


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prefix", ""),
        ("prefix", "amq.mine"),
        ("prefix", "with space"),
        ("prefix", "line\n"),
        ("prefix", "x" * 101),
        ("declare", "perhaps"),
        ("pool_size", "0"),
        ("pool_size", "1025"),
        ("pool_size", "two"),
        ("pool_size", "1.5"),
        ("command", "classify.py"),
        ("command", "[]"),
        ("command", '"classify.py"'),
        ("command", '["python3", 5]'),
        ("classifier", "no.function"),
        ("classifier", "a b:c"),
        ("classifier", "a:b\n"),
        ("pass_environment", "MY_REGION"),
        ("pass_environment", '["CONSUMER_AMQP_URL"]'),
        ("pass_environment", '["CONSUMER_MANAGEMENT_URL"]'),
        ("job_timeout_s", "0"),
        ("job_timeout_s", "86401"),
        ("job_timeout_s", "nan"),
        ("job_timeout_cap_s", "-1"),
        ("reply_to_allowed", ""),
        ("reply_to_allowed", "replies[.]("),
        ("reply_to_allowed", "a{99999999999999999999}"),
        ("max_attempts", "0"),
        ("max_attempts", "51"),
        ("max_body_bytes", "1"),
        ("max_body_bytes", "134217729"),
        ("max_model_bytes", "1023"),
        ("max_line_bytes", "1023"),
        ("max_line_bytes", "16000001"),
        ("max_stdout_bytes", "1023"),
        ("drain_grace_s", "-1"),
        ("drain_grace_s", "inf"),
        ("statsd_port", "0"),
        ("statsd_port", "65536"),
    ],
)
def test_a_wrong_value_is_told_with_name_value_source_and_remedy(name: str, value: str, tmp_path: Path) -> None:
    remedy = f"; `consumer settings {name}` explains it"
    variable = f"CONSUMER_{name.upper()}"
    config = toml(tmp_path, f"{name} = {json.dumps(value)}")
    sources = {
        f"from --{name.replace('_', '-')}": complaint({name: value}, {}),
        f"from {variable}": complaint({}, {variable: value}) if value else "",
        f"in {config}": complaint({}, {}, config),
    }
    for source, message in sources.items():
        assert not message or message.startswith(f"{name} = {value!r} {source}: ")
        assert not message or message.endswith(remedy)
        assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("drain_grace_s", "2d", "must be at most 1d"),
        ("job_timeout_s", "0", "must be more than 0"),
        ("max_line_bytes", "1000", "must be at least 1KiB"),
        ("max_body_bytes", "1G", "must be at most 128MiB"),
        ("pool_size", "0", "must be at least 1"),
        ("declare", "perhaps", "must be true or false"),
        ("log_level", "loud", "must be DEBUG, INFO, WARNING or ERROR"),
        (
            "prefix",
            "amq.x",
            "must be 1 to 100 letters, digits, `.`, `_` or `-`, begin with a letter or digit, and ",
        ),
        ("command", "[]", "must not be empty"),
    ],
)
def test_a_reason_is_in_words_and_its_limit_in_a_unit_that_may_be_typed(
    name: str, value: str, reason: str
) -> None:
    assert f"{name} = {value!r} from --{name.replace('_', '-')}: {reason}" in complaint({name: value}, {})


@pytest.mark.parametrize("name", ["job_timeout_s", "max_cpu_s", "consumer_timeout_s"])
def test_nan_in_a_file_is_no_number(name: str, tmp_path: Path) -> None:
    assert ": not a number; " in complaint({}, {}, toml(tmp_path, f"{name} = nan"))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("log_format", "JSON", "json"), ("log_jobs", "All", "all"), ("log_level", "debug", "DEBUG")],
)
def test_a_choice_may_be_in_capitals_or_not(name: str, text: str, value: str) -> None:
    assert getattr(load({name: text}, {}), name) == value
    assert load({"batch_size": "AUTO"}, {}).batch_size == "auto"
    assert asks_for_json({"log_format": "JSON"}, {})


@pytest.mark.parametrize("name", ["pool_size", "max_attempts", "job_timeout_s", "statsd_port"])
def test_true_is_not_a_number(name: str, tmp_path: Path) -> None:
    assert complaint({}, {}, toml(tmp_path, f"{name} = true")).startswith(f"{name} = True in ")


def test_every_wrong_value_is_told_in_a_line_of_its_own_with_the_source_that_won(tmp_path: Path) -> None:
    config = toml(tmp_path, "pool_size = 0\nmax_attempts = 0\nstatsd_port = 0")
    lines = complaint({"statsd_port": -1}, {"CONSUMER_POOL_SIZE": "-2"}, config).splitlines()
    assert [line.partition(": ")[0] for line in sorted(lines)] == [
        f"max_attempts = 0 in {config}",
        "pool_size = '-2' from CONSUMER_POOL_SIZE",
        "statsd_port = -1 from --statsd-port",
    ]


def test_an_unknown_key_in_the_file_is_refused_with_a_guess(tmp_path: Path) -> None:
    config = toml(tmp_path, "pol_size = 4\nzzz = 1")
    assert complaint({}, {}, config).splitlines() == [
        f"pol_size in {config}: no such setting; did you mean pool_size?",
        f"zzz in {config}: no such setting",
    ]


def test_a_file_that_is_not_there_or_no_toml_is_told(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert complaint({}, {}, missing) == f"the settings file {missing} cannot be read: No such file or directory"
    assert "is not TOML: " in complaint({}, {}, toml(tmp_path, "pool_size: 4"))
    broken = tmp_path / "latin1.toml"
    broken.write_bytes(b'prefix = "\xe9"')
    assert f"the settings file {broken} is not TOML: " in complaint({}, {}, broken)


def test_command_and_classifier_exclude_each_other() -> None:
    message = complaint({"command": ["a"], "classifier": "a:b"}, {})
    assert message == "`command` and `classifier` are both set; remove one of them"


def test_a_cap_below_the_run_time_is_refused() -> None:
    message = complaint({"job_timeout_s": 20, "job_timeout_cap_s": 10}, {})
    assert message == (
        "job_timeout_cap_s (10s) is less than job_timeout_s (20s); raise the cap or lower the time limit"
    )


@pytest.mark.parametrize(
    ("timeout", "cap", "longest"), [(60, None, 600), (700, None, 700), (60, 60, 60), (60, 900, 900)]
)
def test_the_longest_run_time(timeout: float, cap: float | None, longest: float) -> None:
    assert load({"job_timeout_s": timeout, "job_timeout_cap_s": cap}, {}).longest_timeout_s == longest


def test_a_job_that_outlasts_rabbitmqs_patience_is_refused_with_the_remedy() -> None:
    message = complaint({"job_timeout_s": 1740}, {})
    assert "a job may take 1740 s and 60 s to settle, but after 1800 s (consumer_timeout_s)" in message
    assert "set job_timeout_cap_s lower, or raise consumer_timeout in RabbitMQ's configuration" in message
    assert load({"job_timeout_s": 1739}, {}).longest_timeout_s == 1739
    assert load({"job_timeout_s": 7200, "consumer_timeout_s": 7300}, {}).longest_timeout_s == 7200
    assert load({"job_timeout_s": 86400, "consumer_timeout_s": 0}, {}).longest_timeout_s == 86400


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("amqp://a", ("amqp://a",)),
        ("amqp://a amqps://b:1/v", ("amqp://a", "amqps://b:1/v")),
        (" amqp://u:p,q@a, amqp://b\n", ("amqp://u:p,q@a", "amqp://b")),
    ],
)
def test_several_urls_are_taken_apart(text: str, urls: tuple[str, ...]) -> None:
    assert load({}, {"CONSUMER_AMQP_URL": text}).amqp_urls == urls


@pytest.mark.parametrize(
    "url", ["amqp://u:hunter2@h", "amqp://a amqp://u:hunter2@b", "amqp://u:@h", "amqp://[u:hunter2"]
)
def test_a_password_in_a_flag_is_refused_as_everybody_sees_it(url: str) -> None:
    message = complaint({"amqp_url": url}, {})
    assert "set CONSUMER_AMQP_URL instead" in message
    assert "amqp_password_file" in message
    assert SECRET not in message


def test_the_management_url_is_kept_as_secret_as_the_other() -> None:
    assert "set CONSUMER_MANAGEMENT_URL instead" in complaint({"management_url": "http://u:hunter2@h:15672"}, {})
    for bad in ("h:15672", "amqp://u:hunter2@h", "http://", "http://u:hunter2/@h", "http://u:p@h/?hunter2"):
        message = complaint({}, {"CONSUMER_MANAGEMENT_URL": bad})
        assert message.startswith("management_url = (not shown) from CONSUMER_MANAGEMENT_URL: ")
        assert SECRET not in message
    chosen = load({}, {"CONSUMER_MANAGEMENT_URL": "https://u:hunter2@h/rabbit"})
    assert SECRET not in repr(chosen)


def test_a_flag_may_name_host_and_user() -> None:
    assert load({"amqp_url": "amqps://u@h"}, {}).amqp_urls == ("amqps://u@h",)


def test_a_file_that_does_not_fit_one_of_the_urls_is_refused() -> None:
    environment = {
        "CONSUMER_AMQP_URL": "amqps://u:hunter2@a amqp://u:hunter2@b",
        "CONSUMER_AMQP_CA_FILE": "/ca.pem",
    }
    message = complaint({}, environment)
    assert message.startswith("amqp_ca_file is set, but an amqp:// URL is not encrypted")
    assert SECRET not in message


def test_a_file_without_a_url_is_refused() -> None:
    assert "set amqp_url, or remove" in complaint({"amqp_ca_file": "/ca.pem"}, {})


def test_the_files_are_the_settings_own() -> None:
    names = ("amqp_ca_file", "amqp_cert_file", "amqp_key_file", "amqp_password_file")
    settings = load({name: f"/{name}" for name in names}, {"CONSUMER_AMQP_URL": "amqps://u@h"})
    assert settings.credentials == Credentials(*(Path(f"/{name}") for name in names))


def test_without_a_url_there_is_none() -> None:
    assert load({}, {}).amqp_urls == ()


@pytest.mark.parametrize("second", ["http://b", "amqp:/b", "b", "amqp://u:p/@b"])
def test_one_bad_url_of_several_is_refused(second: str) -> None:
    assert "amqp_url = (not shown) " in complaint({"amqp_url": f"amqp://a {second}"}, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("command", "[" * 100_000),
        ("reply_to_allowed", "(" * 100_000),
        ("reply_to_allowed", "(?<\n"),
        ("pool_size", "x" * 100_000),
    ],
)
def test_a_complaint_about_a_monstrous_value_is_one_short_line(name: str, value: str) -> None:
    message = complaint({}, {f"CONSUMER_{name.upper()}": value})
    assert message.isprintable()
    assert len(message) < 1000
    assert message.endswith(f"; `consumer settings {name}` explains it")


@pytest.mark.parametrize("name", ["command", "pass_environment", "models_dir", "statsd_host", "amqp_url"])
@pytest.mark.parametrize("bad", ["\\u0000", "\\udcffx\\ud800"])
def test_a_text_that_no_system_call_takes_is_refused(name: str, bad: str) -> None:
    text = {"command": f'["{bad}"]', "pass_environment": f'["{bad}"]', "amqp_url": f"amqp://{bad}"}.get(name, bad)
    given = text if text.startswith("[") else json.loads(f'"{text}"')
    assert complaint({}, {f"CONSUMER_{name.upper()}": given}).startswith(f"{name} = ")


@pytest.mark.parametrize("text", ["a = " + "[" * 10_000, "a = " + "1" * 5000, '"two\\nlines" = 1', "\0"])
def test_a_monstrous_file_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    message = complaint({}, {}, toml(tmp_path, text))
    assert message.isprintable()
    assert len(message) < 1000


@hypothesis_settings(max_examples=200)
@given(values=st.dictionaries(st.sampled_from(sorted({*Settings.model_fields} - {"amqp_url"})), TEXTS), url=URLS)
def test_any_texts_are_settings_or_a_line_for_every_fault_without_the_password(
    values: dict[str, str], url: str
) -> None:
    environment = {f"CONSUMER_{name.upper()}": text for name, text in {**values, "amqp_url": url}.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what a regular expression may mean one day
        try:
            told = repr(load({}, environment))
        except ConfigurationError as error:
            told = str(error)
            lines = told.split("\n")
            assert len(lines) <= len(environment)
            assert all(line.replace("\t", "").isprintable() for line in lines)
    assert SECRET not in told


@hypothesis_settings(max_examples=100)
@given(url=URLS)
def test_a_flag_with_any_url_is_told_without_the_password(url: str) -> None:
    try:
        told = repr(load({"amqp_url": url}, {}))
    except ConfigurationError as error:
        told = str(error)
    assert SECRET not in told


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load({}, {}).__setattr__("pool_size", 5)


def test_a_misspelt_variable_is_told_with_a_guess() -> None:
    environment = {"CONSUMER_POOLSIZE": "4", "CONSUMER_JOB_TIMEOUT": "4", "CONSUMER_POOL_SIZE": "4"}
    assert unknown_variables(environment) == [
        "CONSUMER_POOLSIZE is not a setting; did you mean CONSUMER_POOL_SIZE?",
        "CONSUMER_JOB_TIMEOUT is not a setting; did you mean CONSUMER_JOB_TIMEOUT_S?",
    ]


def test_variables_that_kubernetes_sets_for_a_service_are_no_misspellings() -> None:
    assert (
        unknown_variables({"CONSUMER_PORT": "tcp://10.0.0.1:80", "CONSUMER_SERVICE_HOST": "x", "HOME": "/"}) == []
    )


@pytest.mark.parametrize(
    "url",
    [
        f"http://u:{SECRET}@host/",
        f"u:{SECRET}@host",
        f"amqp:u:{SECRET}@host",
        f"amqp://u:{SECRET}@host:port/",
        f"amqp://u:{SECRET}@host:99999/",
        f"amqp://u:a/{SECRET}@host/",
        f"amqp://u:{SECRET}/a@host/",
        f"amqp://u:{SECRET}?a@host/",
        f"amqp://u:a[{SECRET}]@host/",
        f"amqp://u:{SECRET}[@host/",
        f"amqp://u:{SECRET}\u2100@host/",
        f"amqp://u:1/{SECRET}@host/",
        f"amqp://u:#{SECRET}@host/",
        f"amqp://u:/{SECRET}@host/",
        f"amqp://u:12?{SECRET}@host/",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str, tmp_path: Path) -> None:
    config = toml(tmp_path, f'amqp_url = "{url}"')
    for message in (complaint({}, {"CONSUMER_AMQP_URL": url}), complaint({}, {}, config)):
        assert message.startswith("amqp_url = (not shown) ")
        assert SECRET not in message


@pytest.mark.parametrize(
    "text", [f"amqp_url = amqp://u:{SECRET}@h", f'amqp_url = "amqp://u:{SECRET}@h', f"amqp_url = ['{SECRET}']"]
)
def test_a_file_that_is_wrong_around_the_password_does_not_tell_it(text: str, tmp_path: Path) -> None:
    assert SECRET not in complaint({}, {}, toml(tmp_path, text))


def test_the_password_is_in_no_picture_of_the_settings() -> None:
    settings = load({}, {"CONSUMER_AMQP_URL": f"amqp://u:{SECRET}@host/"})
    for picture in (repr(settings), str(settings), repr(settings.model_dump()), settings.model_dump_json()):
        assert SECRET not in picture


def test_the_password_stays_out_when_another_value_is_wrong() -> None:
    flags = {"command": ["a"], "classifier": "a:b"}
    assert SECRET not in complaint(flags, {"CONSUMER_AMQP_URL": f"amqp://u:{SECRET}@host/"})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://host", "amqp://host"),
        ("amqp://user@host/v", "amqp://user@host/v"),
        ("amqp://user:hunter2@host:5672/v?heartbeat=5", "amqp://user:***@host:5672/v?heartbeat=5"),
        ("amqps://us%40er:hunter2@host/", "amqps://us%40er:***@host/"),
        ("amqp://user:@host/", "amqp://user:***@host/"),
        ("amqp://:hunter2@host/", "amqp://:***@host/"),
        ("amqp://user:hun@ter2@host/", "amqp://user:***@host/"),
        ("amqp://user:hunter2@[::1]:5672/", "amqp://user:***@[::1]:5672/"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_a_batch_has_no_more_jobs_than_its_worker_may_run() -> None:
    assert load({}, {}).most_together == 128
    assert load({"batch_size": 16}, {}).most_together == 16
    assert load({"jobs_per_worker": 1}, {}).most_together == 1


@pytest.mark.parametrize(
    ("settings", "longest_s"),
    [({}, 435), ({"consumer_timeout_s": 0}, 600), ({"batch_size": 16}, 60), ({"job_timeout_cap_s": 90}, 90)],
)
def test_a_job_runs_in_a_batch_if_rabbitmq_waits_for_four_such_runs(
    settings: dict[str, object], longest_s: float
) -> None:
    assert load(settings, {}).longest_batch_s == longest_s


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"command": ["true"]}, "a program of `command` takes one job at a time; set batch_size to 1"),
        ({"jobs_per_worker": 1}, "batch_size (16) is more than jobs_per_worker (1)"),
        ({"jobs_per_worker": 15}, "raise jobs_per_worker"),
        ({"job_timeout_s": 435}, "a job may take 4 times (batch_size) 435 s and 60 s to settle, but after 1800 s"),
        ({"batch_size": 129}, "batch_size = 129"),
    ],
)
def test_what_a_batch_cannot_be_is_refused_with_the_remedy(settings: dict[str, Any], words: str) -> None:
    assert words in complaint({"batch_size": 16, **settings}, {})


def test_jobs_of_a_batch_are_short_unless_the_cap_says_otherwise() -> None:
    assert load({"batch_size": 16}, {}).longest_timeout_s == 60
    assert load({"batch_size": 16, "job_timeout_cap_s": 300}, {}).longest_timeout_s == 300


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ('"amqp://u:hunter2@h"', "there are quotes around it"),
        ("'amqp://u:hunter2@h'", "there are quotes around it"),
        ("\u201camqp://u:hunter2@h\u201d", "there are quotes around it"),
        ('amqp://a "amqp://u:hunter2@h"', "there are quotes around it"),
        ("localhost", "the scheme is missing"),
        ("localhost:5672", "the scheme is missing"),
        ("u:hunter2@h:5672/v", "the scheme is missing"),
        ("//u:hunter2@h", "the scheme is missing"),
        ("http://u:hunter2@h", "its scheme is http"),
        ("redis://u:hunter2@h", "its scheme is another one"),
        ("amqp:/u:hunter2@h", "followed by one slash or none"),
        ("amqp:u:hunter2@h", "followed by one slash or none"),
        ("AMQP_URL=amqp://u:hunter2@h", "a variable's name stands before it"),
        ("export AMQP_URL=amqp://u:hunter2@h", "a variable's name stands before it"),
        (" ", "it is empty"),
        ("amqp://", "a host is missing"),
        ("amqp://h:many", "its port is not a number"),
        ("amqp://h:65536", "its port is not a number"),
        ("amqp://::1", "around an IPv6 address write [ ]"),
        ("amqp://u:hunter2@a;amqp://u:hunter2@b", "there are several, without a blank"),
        ("amqp://u:hunter2@h,localhost", "its host has a character that no host has"),
        ("amqp://u:hunter2@${HOST}", "its host has a character that no host has"),
        ("amqp://u:hunter2@<host>", "its host has a character that no host has"),
    ],
)
def test_a_url_with_a_common_slip_is_refused_by_that_name(url: str, told: str) -> None:
    message = complaint({}, {"CONSUMER_AMQP_URL": url})
    assert told in message
    assert "%2F" not in message
    assert SECRET not in message


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ('"http://u:hunter2@h"', "there are quotes around it"),
        ("localhost:15672", "the scheme is missing"),
        ("amqp://u:hunter2@h", "its scheme is amqp"),
        ("http:/h", "followed by one slash or none"),
    ],
)
def test_the_management_url_is_refused_in_the_same_words(url: str, told: str) -> None:
    message = complaint({}, {"CONSUMER_MANAGEMENT_URL": url})
    assert told in message
    assert SECRET not in message


def test_schemes_may_be_in_capitals_in_a_list_too() -> None:
    assert len(load({}, {"CONSUMER_AMQP_URL": "AMQP://a AMQPS://b"}).amqp_urls) == 2


@pytest.mark.parametrize("host", ['"statsd"', "http://statsd", "statsd/", "a b", "statsd:8125", "statsd:"])
def test_statsds_host_is_a_name_alone(host: str) -> None:
    assert "statsd_host = " in complaint({}, {"CONSUMER_STATSD_HOST": host})


def test_statsds_host_may_be_an_address() -> None:
    assert load({}, {"CONSUMER_STATSD_HOST": "::1"}).statsd_host == "::1"
