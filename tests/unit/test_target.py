"""What is wrong with a `classifier` or a `pass_environment` that a stranger types, and what to write instead."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import pytest

from classifier import cli as classifier_cli
from consumer import _version
from consumer.cli import main
from consumer.config import passed_variables
from consumer.config.function_name import complaint
from consumer.config.loader import load
from consumer.errors import ConfigurationError


@pytest.mark.parametrize(
    ("target", "says", "instead"),
    [
        ("mine.py:classify", "names a file", "write mine:classify"),
        ("mine.py", "names a file", "write mine:classify"),
        ("mine/classify", "names a file", "write mine.classify:classify"),
        ("pkg/mod.py:f", "names a file", "write pkg.mod:f"),
        ("./mine:classify", "names a file", "write mine:classify"),
        ("/srv/app/mine.py:f", "names a file", "start the service in the folder of the file"),
        ("../mine.py:f", "names a file", "and write mine:f"),
        ("pkg\\mine.py:f", "names a file", "write pkg.mine:f"),
        ("mine.classify", "has no colon", "write for example mine:classify"),
        ("mine", "has no colon", "write for example mine:classify"),
        ("mine:", "names no function", "write mine:classify"),
        (":classify", "names no module", "write mine:classify"),
        ("mine:lambda job: 1", "is a lambda", "def classify(job)"),
        ("mine:classify()", "is a call", "write mine:classify"),
        ("mine:Model.classify", "attribute of an attribute", "write mine:classify"),
        ("mine::classify", "is not package.module:function", "write mine:classify"),
        (" mine:classify", "is not package.module:function", "write mine:classify"),
        ("mine-x:classify", "is not package.module:function", "write package.module:function"),
        ("a..b:c", "is not package.module:function", "write a.b:c"),
        ("class:f", "contains class", "rename"),
    ],
)
def test_a_classifier_of_another_form_is_refused_with_what_to_write(target: str, says: str, instead: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({"classifier": target}, {})
    assert says in str(caught.value)
    assert instead in str(caught.value)


@pytest.mark.parametrize("target", ["mine:classify", "a.b.c:f", "_m:_f", "größe:f"])
def test_package_module_function_is_taken(target: str) -> None:
    assert complaint(target) is None
    assert load({"classifier": target}, {}).classifier == target


@pytest.mark.parametrize(
    ("name", "says"),
    [
        *((name, "set anew for each job") for name in passed_variables.OF_THE_JOB),
        *((name, "always reaches the classifier") for name in passed_variables.OF_THE_SETTINGS),
        *((name, "own login") for name in passed_variables.LOGINS),
        ("CONSUMER_AMQP_PASSWORD_FILE", "is a setting of this service"),
        ("CONSUMER_PREFIX", "is a setting of this service"),
        ("MY_REGION=eu", "give the name alone"),
        ("", "no name of a variable"),
        (" MY_REGION", "no name of a variable"),
    ],
)
def test_a_variable_that_would_not_reach_the_classifier_is_refused(name: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match="pass_environment = ") as caught:
        load({}, {"CONSUMER_PASS_ENVIRONMENT": json.dumps([name])})
    assert says in str(caught.value)


def test_variables_that_are_not_set_are_named() -> None:
    assert passed_variables.missing(["A", "B", "C"], {"B": ""}) == ["A", "C"]


@pytest.mark.parametrize(("parse", "name"), [(main.parser, "consumer"), (classifier_cli.parser, "classifier")])
def test_each_command_tells_the_version(
    parse: Callable[[], argparse.ArgumentParser], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse().parse_args(["--version"])
    assert not ended.value.code
    assert capsys.readouterr().out == f"{name} {_version.VERSION}\n"
