"""What docs/observe.md tells to type is there, and is what the tests of the real stores do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.monitoring import stores

from consumer.config.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/observe.md").read_text()
COMMANDS = "\n".join(re.findall(r"^ {4,}(\S.*)$", PAGE, re.MULTILINE))


@pytest.mark.parametrize("path", sorted(set(re.findall(r"deploy/[\w./*-]*[\w*]", PAGE))))
def test_a_file_that_is_named_is_there(path: str) -> None:
    assert list(ROOT.glob(path))


@pytest.mark.parametrize("variable", sorted(set(re.findall(r"CONSUMER_(\w+)", PAGE))))
def test_a_variable_of_the_consumer_is_a_setting(variable: str) -> None:
    assert variable.lower() in Settings.model_fields


@pytest.mark.parametrize("variable", ["STATSD_ADDRESS", "STATSD_PORT", "GRAPHITE_HOST", "GRAPHITE_PORT"])
def test_a_variable_of_statsd_is_read_by_its_configuration(variable: str) -> None:
    assert f"`{variable}`" in PAGE
    assert f"process.env.{variable}" in (ROOT / "deploy/statsd/config.js").read_text()


@pytest.mark.parametrize("variable", ["GRAPHITE_URL", "PROMETHEUS_URL"])
def test_a_variable_of_grafana_is_read_by_its_data_source(variable: str) -> None:
    assert f"`{variable}`" in PAGE
    assert f"url: ${variable}" in (ROOT / "deploy/grafana/provisioning/datasources/classifier.yaml").read_text()


def test_statsd_is_the_one_that_is_tested() -> None:
    assert f"npm install {stores.STATSD}\n" in COMMANDS


def test_dashboards_are_copied_to_where_grafana_is_told_to_look() -> None:
    provider = (ROOT / "deploy/grafana/provisioning/dashboards/classifier.yaml").read_text()
    (path,) = re.findall(r"path: (\S+)", provider)
    assert f"deploy/grafana/dashboards/*.json {path}/" in COMMANDS


def test_packages_named_are_those_that_are_tested() -> None:
    named = set(re.findall(r"apt-get install (.*)", COMMANDS)[0].split())
    assert named < stores.PACKAGES.keys()


#: What publishes a job in one of the languages of our pages. Debian's amqp-publish knows no timestamp.
PUBLISHES = re.compile(r"sendToQueue\('classifier\.jobs'|basic_publish\(|aio_pika\.Message\(")
BLOCKS = [
    (path.name, block)
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for block in re.findall(r"^```\w+\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)
    if PUBLISHES.search(block)
]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[page for page, _ in BLOCKS])
def test_every_example_that_publishes_a_job_sets_its_timestamp(page: str, block: str) -> None:
    """Without it, no panel shows how long jobs wait, and an alert cannot fire."""
    assert "timestamp" in block, page


def test_examples_are_found_on_the_pages_for_producers() -> None:
    assert {"README.md", "producers.md", "walk.md"} <= {page for page, _ in BLOCKS}
