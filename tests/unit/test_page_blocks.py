"""Each block of code on each page is run by a test, or stands here with the reason why it is not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import reference
from support.docs_pages.pages import PAGES, block, blocks, code_of, text_of
from support.docs_pages.shown_output import assert_shows

import classifier.cli
import consumer.cli.main
from consumer.config.settings import Settings
from consumer.wire import schemas

TESTS = Path(__file__).parents[1]
#: By page and id of a block: the file whose test takes it from the page by these.
RUN = {
    "README.md": {
        "demo-prints": "acceptance/test_commands.py",
        "model-from-csv": "acceptance/test_page_commands.py",
        "function": "acceptance/test_page_commands.py",
        "serve-function": "acceptance/test_page_commands.py",
        "python-client": "acceptance/test_page_commands.py",
        "node-producer": "acceptance/test_producers.py",
    },
    "docs/batches.md": {"function": "process/test_batches.py"},
    "docs/classifiers.md": {
        "function": "acceptance/test_page_commands.py",
        "serve-function": "acceptance/test_page_commands.py",
        "function-as-program": "acceptance/test_page_commands.py",
        "own-model": "process/test_try.py",
        "shell-script": "acceptance/test_page_commands.py",
        "serve-script": "acceptance/test_page_commands.py",
        "trust": "acceptance/test_page_commands.py",
    },
    "docs/deploy.md": {
        "own-image": "acceptance/test_image.py",
        "helm-values": "unit/test_chart.py",
        "helm-template": "unit/test_chart.py",
        "kustomize": "unit/test_chart.py",
    },
    "docs/gateway.md": {
        "send-job": "acceptance/test_gateway_shown.py",
        "python-caller": "acceptance/test_gateway_shown.py",
        "problem": "acceptance/test_gateway_shown.py",
    },
    "docs/migrate.md": {
        "celery-tasks": "acceptance/test_migrate_page.py",
        "celery-worker": "acceptance/test_migrate_page.py",
        "celery-caller": "acceptance/test_migrate_page.py",
        "classifier": "acceptance/test_migrate_page.py",
        "try": "acceptance/test_migrate_page.py",
        "serve": "acceptance/test_migrate_page.py",
        "caller": "acceptance/test_migrate_page.py",
        "compare-answers": "acceptance/test_migrate_page.py",
        "celery-bridge": "acceptance/test_migrate_page.py",
        "old-script": "acceptance/test_migrate_page.py",
        "old-consumer": "acceptance/test_migrate_page.py",
        "new-script": "acceptance/test_migrate_page.py",
        "adapter": "acceptance/test_migrate_page.py",
        "serve-script": "acceptance/test_migrate_page.py",
        "compare-script": "acceptance/test_migrate_page.py",
    },
    "docs/plan.md": {
        "measure": "acceptance/test_plan_page.py",
        "fewest-slots": "acceptance/test_plan_page.py",
        "fewest-slots-prints": "acceptance/test_plan_page.py",
        "judge-slots": "acceptance/test_plan_page.py",
        "guess": "acceptance/test_plan_page.py",
    },
    "docs/producers.md": {
        "pika": "acceptance/test_producers.py",
        "aio-pika": "acceptance/test_producers.py",
        "javascript": "acceptance/test_producers.py",
        "shell": "acceptance/test_producers.py",
        "client": "integration/test_client.py",
        "blocking-client": "integration/test_client.py",
        "replies": "unit/test_page_blocks.py",
    },
    "docs/rabbitmq.md": {"tls": "unit/test_page_blocks.py"},
    "docs/train.md": {
        "train": "acceptance/test_page_commands.py",
        "onnx": "acceptance/test_page_commands.py",
    },
}
#: Pages whose blocks are all run, in their order, by a test that names the page alone.
RUN_AS_A_WHOLE = {"docs/walk.md": "acceptance/test_walk.py"}
NOT_RUN = {
    "README.md": {
        "message-path": "a drawing",
        "clone": "has a placeholder",
        "demo": "installs packages; `consumer demo`, all it does after that, is run by test_commands.py",
        "test": "`make test` is what runs this",
        "install": "downloads libraries; `make release-rehearsal` runs what test_release.py compares",
        "environment": "test_walk.py does the same",
        "failed-job": "has placeholders; test_walk.py does the same",
    },
    "docs/batches.md": {
        "serve-models": "serves; test_batch_service.py sets the same",
        "serve-function": "serves; test_batch_service.py sets the same",
    },
    "docs/classifiers.md": {
        "try": "has a placeholder; test_commands.py tries jobs",
    },
    "docs/deploy.md": {  # all held to the files that they name by test_deploy_docs.py
        "laptop": "`make demo` is `consumer demo`, which test_commands.py runs; `make run` serves",
        "install": "root on a server; test_systemd_unit.py starts the unit",
        "settings": "settings; test_deploy_docs.py loads them",
        "start-unit": "root on a server; test_systemd_unit.py starts the unit",
        "compose": "needs Docker; test_deploy_files.py validates the file",
        "compose-submit": "needs Docker; test_deploy_files.py validates the file",
        "push-image": "needs a registry; test_image.py builds the image with buildah",
        "secrets": "needs a cluster; test_deploy_docs.py compares the secrets with the manifests",
        "setup": "needs a cluster; test_deploy_files.py validates the manifests",
        "helm-install": "needs a cluster; test_chart.py validates what Helm renders with the same values",
        "scaler-secret": "needs a cluster; test_deploy_docs.py compares the secret with the manifest",
    },
    "docs/gateway.md": {
        "serve": "installs an extra, and serves; test_gateway_shown.py runs it",
    },
    "docs/observe.md": {  # all held to what test_observed.py does with the real stores by test_observe_page.py
        "graphite": "root on a server; test_observed.py runs Graphite with these files",
        "statsd": "serves; test_observed.py runs it with this configuration",
        "consumer-to-statsd": "serves; test_observed.py runs one with this setting",
        "grafana": "root on a server with Grafana; test_grafana.py judges the files",
        "consumer-to-prometheus": "serves; test_observed.py runs one with this setting",
        "alerts-of-a-prefix": "root on a server with Grafana; test_grafana.py judges what it prints",
        "generate-dashboards": "test_grafana.py compares what it makes with the files",
    },
    "docs/operate.md": {
        "check": "the output of one machine; test_check.py asks for a healthy one",
        "status": "the output of one moment; test_status.py asks for the same",
        "consumers-differ": "the output of one moment; test_status.py runs two such consumers",
        "kubernetes-probes": "a fragment for Kubernetes; test_probes.py asks both",
        "dead-letters": "the output of a day's work; test_deadletters.py does each of these",
    },
    "docs/producers.md": {
        "install-client": "downloads libraries; test_distributions.py installs the wheel",
        "submit": "has a placeholder; test_client.py resumes a submit that was killed",
        "submit-failures": "the output of one day; test_submit_interrupted.py makes such failures",
        "progress": "a line of a classifier; one in test_client.py says it in both runners",
        "progress-message": "a message; its schema is held to the code by test_asyncapi.py",
    },
    "docs/rabbitmq.md": {
        "import-definitions": "needs a RabbitMQ of the system's; test_permissions.py imports it",
        "client-certificate": "RabbitMQ's settings; test_tls.py starts a node with the same",
    },
    "docs/tracing.md": {
        "install": "installs an extra, which the extra `test` includes",
        "switch-on": "serves until it is stopped; test_traces.py sets the same",
    },
    "docs/tune.md": {
        "try": "has a placeholder; test_commands.py tries jobs",
        "try-prints": "the output of one machine; test_commands.py tries jobs",
    },
    "docs/upgrade.md": {"reload": "has a placeholder; test_warm_service.py reloads"},
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


def listed(page: str) -> list[str]:
    return [*RUN.get(page, {}), *NOT_RUN.get(page, {})]


@pytest.mark.parametrize("page", [page for page in PAGES if page not in RUN_AS_A_WHOLE])
def test_every_block_has_an_id_and_is_run_or_has_its_reason(page: str) -> None:
    nameless = [taken.text for taken in blocks(page) if not taken.id]
    assert nameless == []  # a comment before a block gives its id: <!-- block: ID -->
    assert sorted(taken.id for taken in blocks(page)) == sorted(listed(page))


@pytest.mark.parametrize(("page", "block_id"), [(page, block_id) for page, ids in RUN.items() for block_id in ids])
def test_the_test_of_a_block_takes_it_by_its_page_and_id(page: str, block_id: str) -> None:
    test = (TESTS / RUN[page][block_id]).read_text()
    assert f'"{page}"' in test
    assert f'"{block_id}"' in test


@pytest.mark.parametrize("page", RUN_AS_A_WHOLE)
def test_the_test_of_a_page_takes_it_as_a_whole(page: str) -> None:
    assert f'"{page}"' in (TESTS / RUN_AS_A_WHOLE[page]).read_text()


@pytest.mark.parametrize("page", PAGES)
def test_every_id_stands_before_a_block(page: str) -> None:
    named = re.findall(r"<!-- block: (.*?) -->", text_of(page))
    assert named == [taken.id for taken in blocks(page) if taken.id]


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
    text, decode, end = block("docs/producers.md", "replies").text.strip(), json.JSONDecoder().raw_decode, 0
    shown = []
    while end < len(text):
        reply, end = decode(text, end)
        shown.append(reply["status"])
        jsonschema.Draft202012Validator(schemas.documents()["reply"]).validate(reply)
        end += len(text[end:]) - len(text[end:].lstrip())
    assert shown == ["succeeded", "failed"]


def test_the_variables_shown_for_tls_are_settings() -> None:
    names = [line.partition("=")[0] for line in block("docs/rabbitmq.md", "tls").text.splitlines()]
    assert names
    assert {name.removeprefix("CONSUMER_").lower() for name in names} <= Settings.model_fields.keys()


def test_what_differs_from_the_page_is_seen() -> None:
    assert_shows("took 0.25 s\nmany lines\n7 of 8   done", "took 1.5 s\n...\n1 of 1 done")
    with pytest.raises(AssertionError):
        assert_shows("took 0.25 s, not done", "took 1.5 s\ndone")
