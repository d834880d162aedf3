"""The contract of the HTTP gateway is what the code makes, complete in itself, and true of what is answered."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from consumer.cli import main
from consumer.gateway.app import application
from consumer.gateway.jobs import JobsQueue, Pending
from consumer.gateway.problems import KINDS, Reason, answer
from consumer.job import ErrorCode, Failed, Request, Succeeded, Usage
from consumer.telemetry.health import LIVE, METRICS, READY
from consumer.telemetry.prometheus import STATUSES
from consumer.wire import write

ROOT = Path(__file__).parents[2]
DOCUMENT = application().openapi()
SCHEMAS = DOCUMENT["components"]["schemas"]
JOBS, JOB = DOCUMENT["paths"]["/jobs"]["post"], DOCUMENT["paths"]["/jobs/{job_id}"]["get"]


def assert_is_valid(instance: Any, name: str) -> None:  # noqa: ANN401 - JSON
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    jsonschema.Draft202012Validator(schema).validate(instance)


def refs(part: Any) -> set[str]:  # noqa: ANN401 - JSON
    if isinstance(part, dict):
        return {part["$ref"]} if "$ref" in part else set().union(*map(refs, part.values()))
    return set().union(*map(refs, part)) if isinstance(part, list) else set()


def test_the_committed_contract_is_what_the_command_makes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("CONSUMER_")]:
        monkeypatch.delenv(name)
    arguments = main.parser().parse_args(["gateway", "--openapi"])
    assert arguments.command(arguments) == 0
    renew = "outdated; renew: consumer gateway --openapi > deploy/openapi.json"
    assert capsys.readouterr().out == (ROOT / "deploy" / "openapi.json").read_text(), renew


@pytest.mark.parametrize("ref", sorted(refs(DOCUMENT)))
def test_what_the_document_refers_to_is_there(ref: str) -> None:
    part = DOCUMENT
    for name in ref.removeprefix("#/").split("/"):
        part = part[name]


@pytest.mark.parametrize("reason", Reason)
def test_every_problem_keeps_its_schema_and_is_told_at_its_status(reason: Reason) -> None:
    said = answer(reason, job_id="1")
    assert_is_valid(json.loads(bytes(said.body)), "Problem")
    status = str(int(KINDS[reason].status))
    for page in (JOBS, JOB):
        assert f"* {status} `{reason}`: {KINDS[reason].detail}" in page["responses"]["default"]["description"]
    assert status in STATUSES  # and is counted


def test_replies_and_what_is_pending_keep_their_schemas() -> None:
    request = Request(id="1", correlation_id="1")
    succeeded = write.reply(request, Succeeded(output=b'{"a": 1}'), consumer="host:1")
    failed = write.reply(request, Failed(message="why", usage=Usage(cpu_s=1.0)), consumer="host:1")
    assert_is_valid(json.loads(succeeded.body), "SucceededReply")
    assert_is_valid(json.loads(failed.body), "FailedReply")
    assert_is_valid(Pending(job_id="1").model_dump(), "Pending")
    assert_is_valid(JobsQueue(waiting=1, consumers=0).model_dump(), "JobsQueue")
    assert SCHEMAS["ErrorCode"]["enum"] == list(ErrorCode)


def test_the_paths_are_those_that_are_served() -> None:
    assert DOCUMENT["paths"].keys() == {"/jobs", "/jobs/{job_id}", "/queue", LIVE, READY, METRICS}
    assert set(JOBS["responses"]) == set(JOB["responses"]) == {"200", "202", "default"}
