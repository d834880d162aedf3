"""The published contract is what the code makes, valid by the official schema, and true of real messages."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from consumer.cli import main
from consumer.config.settings import Settings
from consumer.job import (
    Crashed,
    ErrorCode,
    Failed,
    Invalid,
    InvalidOutput,
    Outcome,
    OverLimit,
    OverOutput,
    Request,
    Succeeded,
    TimedOut,
    Unroutable,
    Unsuccessful,
    Usage,
)
from consumer.wire import asyncapi, message, schemas, write
from consumer.wire.topology import Topology

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OFFICIAL = json.loads((ROOT / "tests" / "vendored" / "asyncapi" / "3.0.0.json").read_text())
RENEW = "outdated; renew: consumer asyncapi --schemas deploy/schemas > deploy/asyncapi.json"
SETTINGS = Settings()
TOPOLOGY = Topology(SETTINGS.prefix, SETTINGS.max_attempts)
DOCUMENT = asyncapi.document(TOPOLOGY, "1.2.3")
SCHEMAS = schemas.documents()
REQUEST = Request(id="job-1", correlation_id="c-1", traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
FAILURES = [
    kind(message="why", usage=usage)
    for kind in (Failed, Invalid, Crashed, InvalidOutput, TimedOut, OverLimit, OverOutput)
    for usage in (Usage(), Usage(cpu_s=1.5, peak_memory_bytes=2**20, signal="SIGKILL"))
]


def assert_is_valid(instance: Any, schema: dict[str, Any]) -> None:  # noqa: ANN401 - JSON
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(instance)


def refs(part: Any) -> set[str]:  # noqa: ANN401 - JSON
    """Collect all that the document refers to."""
    if isinstance(part, dict):
        return {part["$ref"]} if "$ref" in part else set().union(*map(refs, part.values()))
    return set().union(*map(refs, part)) if isinstance(part, list) else set()


def test_the_document_is_valid_by_the_official_schema_of_asyncapi_3() -> None:
    jsonschema.Draft7Validator(OFFICIAL).validate(DOCUMENT)


def test_the_official_schema_does_find_faults() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(OFFICIAL).validate({**DOCUMENT, "operations": {"takeJob": {"action": "take"}}})


def test_the_committed_contract_is_what_the_command_makes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("CONSUMER_")]:
        monkeypatch.delenv(name)
    arguments = main.parser().parse_args(["asyncapi", "--schemas", str(tmp_path)])
    assert arguments.command(arguments) == 0
    assert capsys.readouterr().out == (DEPLOY / "asyncapi.json").read_text(), RENEW
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in (DEPLOY / "schemas").iterdir()}, RENEW


@pytest.mark.parametrize("ref", sorted(refs(DOCUMENT)))
def test_what_the_document_refers_to_is_there(ref: str) -> None:
    part = DOCUMENT
    for name in ref.removeprefix("#/").split("/"):
        part = part[name]


@pytest.mark.parametrize("outcome", [Succeeded(output=b"null"), Succeeded(output=b'{"a": [1]}'), *FAILURES])
def test_a_reply_keeps_its_schema(outcome: Outcome) -> None:
    made = write.reply(REQUEST, outcome, consumer="host:1")
    assert_is_valid(json.loads(made.body), SCHEMAS["reply"])
    described = DOCUMENT["components"]["messages"]["succeeded" if isinstance(outcome, Succeeded) else "failed"]
    assert made.type == described["name"]
    assert_is_valid(dict(made.headers), described["headers"])
    assert made.headers.keys() == described["headers"]["properties"].keys()


@pytest.mark.parametrize("outcome", [*FAILURES, Unroutable(message="why")])
def test_an_error_record_keeps_its_schema(outcome: Unsuccessful) -> None:
    made = write.error_record(REQUEST, outcome, consumer="classifier.host.1")
    assert_is_valid(json.loads(made.body), SCHEMAS["error-record"])
    assert made.type == DOCUMENT["components"]["messages"]["errorRecord"]["name"]


@pytest.mark.parametrize(
    "body",
    [
        {"job_id": "1", "status": "succeeded", "attempt": 1, "run_ms": 1.0},
        {"job_id": "1", "status": "failed", "output": 1, "attempt": 1, "run_ms": 1.0},
        {"job_id": "1", "status": "lost", "output": 1, "attempt": 1, "run_ms": 1.0},
        {"status": "succeeded", "output": 1, "attempt": 1, "run_ms": 1.0},
    ],
    ids=["no output", "no error", "another status", "no id"],
)
def test_what_is_no_reply_does_not_keep_the_schema(body: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        assert_is_valid(body, SCHEMAS["reply"])


@pytest.mark.parametrize("name", DOCUMENT["components"]["messages"])
def test_the_examples_of_a_message_keep_its_schemas(name: str) -> None:
    message = DOCUMENT["components"]["messages"][name]
    schema = {**message["payload"], "components": DOCUMENT["components"]}
    assert message["examples"]
    for example in message["examples"]:
        assert_is_valid(example["payload"], schema)
        assert_is_valid(example.get("headers", {}), message["headers"])


@pytest.mark.parametrize("name", DOCUMENT["components"]["messages"])
def test_each_message_of_the_document_has_its_schema_in_one_file(name: str) -> None:
    files = {"job"} if name == "job" else SCHEMAS.keys() - {"job"}
    for example in DOCUMENT["components"]["messages"][name]["examples"]:
        valid = [
            file for file in files if jsonschema.Draft202012Validator(SCHEMAS[file]).is_valid(example["payload"])
        ]
        assert len(valid) == 1, valid


def test_a_job_is_any_object_and_nothing_else() -> None:
    assert_is_valid({"whatever": [1, None]}, SCHEMAS["job"])
    with pytest.raises(jsonschema.ValidationError):
        assert_is_valid([1], SCHEMAS["job"])


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_is_told_with_its_sentence(code: ErrorCode) -> None:
    described = DOCUMENT["components"]["schemas"]["ErrorCode"]
    assert code in described["enum"]
    assert f"* `{code}`: {code.meaning}" in described["description"].splitlines()
    assert code.meaning.endswith(".")


@pytest.mark.parametrize("name", [name for name in vars(message) if name.endswith(("_HEADER", "_TYPE"))])
def test_every_header_and_type_of_the_wire_is_told(name: str) -> None:
    told = DOCUMENT["components"]["messages"].values()
    headers = {header for one in told for header in one["headers"]["properties"]}
    assert getattr(message, name) in headers | {one.get("name") for one in told}


def test_every_queue_of_producers_is_a_channel_with_its_arguments() -> None:
    told = {channel["address"]: channel.get("bindings") for channel in DOCUMENT["channels"].values()}
    queues = {queue.name: queue.arguments for queue in TOPOLOGY.queues()}
    assert told.keys() == {TOPOLOGY.jobs, TOPOLOGY.results, TOPOLOGY.errors, None}
    assert all(one["amqp"]["x-arguments"] == queues[name] for name, one in told.items() if name)


def test_every_property_told_is_one_that_a_message_has() -> None:
    known = {field.name for field in fields(message.Message)} | {"expiration", "delivery_mode"}
    for one in DOCUMENT["components"]["messages"].values():
        assert one["x-amqp-properties"]["properties"].keys() <= known


def test_another_prefix_is_another_contract() -> None:
    other = schemas.text(asyncapi.document(Topology("pumps", 3), "1.2.3"))
    assert '"pumps.jobs"' in other
    assert "classifier.jobs" not in other
