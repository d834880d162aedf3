"""Each block of code on each page is run by a test, or stands here with the reason why it is not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import reference
from pages import PAGES, assert_shows, block, blocks, code_of, text_of

import classifier.cli
import consumer.cli.main
from consumer.config.settings import Settings
from consumer.wire import asyncapi

TESTS = Path(__file__).parents[1]
#: By page and the words that lead to a block: the file whose test takes it from the page by these words. "": all
#: blocks of the page, by a test that names the page alone.
RUN = {
    "README.md": {
        "trains a model on generated": "acceptance/test_commands.py",
        "**A model from a CSV file**": "acceptance/test_page_commands.py",
        "**Or a function of your own.**": "acceptance/test_page_commands.py",
        "**Publish, and see the reply.**": "acceptance/test_page_commands.py",
        "From Node.js, with amqplib": "acceptance/test_producers.py",
    },
    "docs/batches.md": {"A function of your own declares": "process/test_batches.py"},
    "docs/classifiers.md": {
        "Write a module with a function": "acceptance/test_page_commands.py",
        "Serve it, from the folder": "acceptance/test_page_commands.py",
        "A Python function can be run as a program": "acceptance/test_page_commands.py",
        "In any language": "acceptance/test_page_commands.py",
        "A pickle is code": "acceptance/test_page_commands.py",
    },
    "docs/gateway.md": {
        "## Send a job, get the reply": "acceptance/test_gateway_shown.py",
        "In Python, with nothing but its own library": "acceptance/test_gateway_shown.py",
        "Every answer from 400 on is": "acceptance/test_gateway_shown.py",
    },
    "docs/plan.md": {
        "**1. Measure how long your jobs run.**": "acceptance/test_plan_page.py",
        "**2. Ask for the fewest slots**": "acceptance/test_plan_page.py",
        "**3. Judge a number of slots**": "acceptance/test_plan_page.py",
        "**4. Take the run times from a consumer": "acceptance/test_plan_page.py",
        "**5. Guess**": "acceptance/test_plan_page.py",
    },
    "docs/producers.md": {
        "**Python**, with pika": "acceptance/test_producers.py",
        "**Python**, with aio-pika": "acceptance/test_producers.py",
        "**JavaScript**": "acceptance/test_producers.py",
        "**Shell**": "acceptance/test_producers.py",
        "## The Python client": "integration/test_client.py",
        "or, without asyncio": "integration/test_client.py",
        "## The reply": "unit/test_page_blocks.py",
    },
    "docs/rabbitmq.md": {"## TLS": "unit/test_page_blocks.py"},
    "docs/train.md": {
        "**Train, look at it, ask it:**": "acceptance/test_page_commands.py",
        "**The same model as ONNX**": "acceptance/test_page_commands.py",
    },
    "docs/walk.md": {"": "acceptance/test_walk.py"},
}
NOT_RUN = {
    "docs/batches.md": {
        "The models of `classifier train`": "serves; test_batches.py of integration sets the same"
    },
    "README.md": {
        "There is no client library": "a drawing",
        "On Debian 12": "installs packages; `consumer demo`, all it does after that, is run by test_commands.py",
        "The second one": "`make test` is what runs this",
        "**Where the commands are.**": "test_walk.py does the same",
        "**A job that failed**": "has placeholders; test_walk.py does the same",
    },
    "docs/classifiers.md": {
        "## Try it": "has a placeholder; test_commands.py tries jobs",
    },
    "docs/deploy.md": {  # all held to the files that they name by test_deploy_docs.py
        "## On a laptop": "`make demo` is `consumer demo`, which test_commands.py runs; `make run` serves",
        "RabbitMQ first": "root on a server; test_systemd_unit.py starts the unit",
        "Write the password": "settings; test_deploy_docs.py loads them",
        "Put the models into": "root on a server; test_systemd_unit.py starts the unit",
        "## On one machine, with Compose": "needs Docker; test_deploy_files.py validates the file",
        "starts RabbitMQ, a consumer": "needs Docker; test_deploy_files.py validates the file",
        "**A classifier of your own**": "needs Docker; test_image.py runs the steps of the image below it",
        "Build the image": "needs a cluster; test_deploy_files.py validates the manifests",
        "* The pods keep": "needs a cluster; test_deploy_docs.py compares the secret with the manifest",
    },
    "docs/gateway.md": {
        "For callers that have no AMQP": "installs an extra, and serves; test_gateway_shown.py runs it",
    },
    "docs/observe.md": {  # all held to what test_observed.py does with the real stores by test_observe_page.py
        "1. **Graphite**": "root on a server; test_observed.py runs Graphite with these files",
        "2. **statsd**": "serves; test_observed.py runs it with this configuration",
        "3. **The consumer**": "serves; test_observed.py runs one with this setting",
        "4. **Grafana**": "root on a server with Grafana; test_grafana.py judges the files",
        "1. **The consumer** serves": "serves; test_observed.py runs one with this setting",
        "Panels and alerts are one table": "test_grafana.py compares what it makes with the files",
    },
    "docs/operate.md": {
        "It finds in some seconds": "the output of one machine; test_check.py asks for a healthy one",
        "`consumer status` shows": "the output of one moment; test_status.py asks for the same",
        "What failed for good": "the output of a day's work; test_deadletters.py does each of these",
        "`consumer health live`": "a fragment for Kubernetes; test_probes.py asks both",
    },
    "docs/producers.md": {
        "## Many jobs from the shell": "has a placeholder; test_client.py resumes a submit that was killed",
        "A classifier says how far it is": "a line of a classifier; one in test_client.py says it in both runners",
        "Where the job has the header `progress": "a message; its schema is held to the code by test_asyncapi.py",
    },
    "docs/rabbitmq.md": {
        "`deploy/rabbitmq/definitions.json`": "needs a RabbitMQ of the system's; test_permissions.py imports it",
        "**A client certificate": "RabbitMQ's settings; test_tls.py starts a node with the same",
    },
    "docs/tracing.md": {
        "## Switch it on": "installs an extra, serves until it is stopped; test_traces.py sets the same",
    },
    "docs/tune.md": {"## Measure one job": "the output of one machine; test_commands.py tries jobs"},
    "docs/upgrade.md": {"Put the new model file": "has a placeholder; test_warm_service.py reloads"},
}


#: Each command with its flags.
TAKEN = {
    command.prog: {flag for action in command._actions for flag in action.option_strings}  # noqa: SLF001 - no public way
    for top in (consumer.cli.main.parser(), classifier.cli.parser())
    for command in reference.commands(top)
}
_COMMAND = re.compile(
    r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(?:.* \| )?((?:consumer|classifier)(?: dead-letters)? [a-z][a-z-]*)([^|;#]*)"
)


def on(page: str) -> Iterator[str]:
    yield from (*RUN.get(page, {}), *NOT_RUN.get(page, {}))


def listed(table: dict[str, dict[str, str]]) -> list[tuple[str, str]]:
    return [(page, lead) for page, leads in table.items() for lead in leads]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_has_its_reason(page: str) -> None:
    for taken in blocks(page):
        known = [lead for lead in on(page) if taken.lead.startswith(lead)]
        assert len(known) == 1, f"list the block after {taken.lead!r} in RUN or NOT_RUN"


@pytest.mark.parametrize(("page", "lead"), [*listed(RUN), *listed(NOT_RUN)])
def test_what_is_listed_is_there(page: str, lead: str) -> None:
    assert any(taken.lead.startswith(lead) for taken in blocks(page))


@pytest.mark.parametrize(("page", "lead"), listed(RUN))
def test_the_test_of_a_block_takes_it_by_its_page_and_lead(page: str, lead: str) -> None:
    test = (TESTS / RUN[page][lead]).read_text()
    assert f'"{page}"' in test
    assert not lead or f'"{lead}"' in test


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_named_is_one_with_its_flags(page: str) -> None:
    wrong = [said for said in code_of(page) if (found := _COMMAND.search(said)) and not is_taken(*found.groups())]
    assert not wrong


@pytest.mark.parametrize("page", PAGES)
def test_every_variable_that_is_named_is_a_setting(page: str) -> None:
    named = {name.lower() for name in re.findall(r"\bCONSUMER_([A-Z][A-Z_]+)\b", text_of(page))}
    assert named <= {*Settings.model_fields, "config"}


def is_taken(command: str, rest: str) -> bool:
    flags = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest))
    return any(known == command or known.startswith(f"{command} ") for known in TAKEN) and flags <= TAKEN.get(
        command, frozenset()
    )


def test_the_replies_shown_keep_their_schema() -> None:
    text, decode, end = block("docs/producers.md", "## The reply").text.strip(), json.JSONDecoder().raw_decode, 0
    shown = []
    while end < len(text):
        reply, end = decode(text, end)
        shown.append(reply["status"])
        jsonschema.Draft202012Validator(asyncapi.schemas()["reply"]).validate(reply)
        end += len(text[end:]) - len(text[end:].lstrip())
    assert shown == ["succeeded", "failed"]


def test_the_variables_shown_for_tls_are_settings() -> None:
    names = [line.partition("=")[0] for line in block("docs/rabbitmq.md", "## TLS").text.splitlines()]
    assert names
    assert {name.removeprefix("CONSUMER_").lower() for name in names} <= Settings.model_fields.keys()


def test_what_differs_from_the_page_is_seen() -> None:
    assert_shows("took 0.25 s\nmany lines\n7 of 8   done", "took 1.5 s\n...\n1 of 1 done")
    with pytest.raises(AssertionError):
        assert_shows("took 0.25 s, not done", "took 1.5 s\ndone")
