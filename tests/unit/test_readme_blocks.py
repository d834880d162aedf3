"""Each of the README's blocks of code is run by a test, or stands here with the reason why it is not."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from readmeblocks import Block, block, blocks

from consumer import asyncapi
from consumer.settings import Settings

TESTS = Path(__file__).parents[1]
#: By the words that lead to a block: the file whose test takes it from the README by these words.
RUN = {
    "**A Python function.**": "acceptance/test_readme_commands.py",
    "**A scikit-learn model": "acceptance/test_readme_commands.py",
    "**The same model as ONNX**": "acceptance/test_readme_commands.py",
    "**Any program**": "acceptance/test_readme_commands.py",
    "A pickle is code": "acceptance/test_readme_commands.py",
    "**Python**, with pika": "acceptance/test_producers.py",
    "**Python**, with aio-pika": "acceptance/test_producers.py",
    "**JavaScript**": "acceptance/test_producers.py",
    "**Shell**": "acceptance/test_producers.py",
    "### The reply": "unit/test_readme_blocks.py",
    "### TLS": "unit/test_readme_blocks.py",
}
NOT_RUN = {
    "On Debian 12": "installs packages; `consumer demo`, all it does after that, is run by test_commands.py",
    "trains a model on generated": "`make test` is what runs this",
    "`deploy/rabbitmq/definitions.json`": "needs a RabbitMQ of the system's; test_permissions.py imports the file",
    "**A client certificate": "RabbitMQ's settings; test_tls.py starts a node with the same",
    "### The Python client": "test_client.py runs the whole section in one test",
    "or, without asyncio": "test_client.py runs the whole section in one test",
    "### Many jobs from the shell": "has a placeholder; test_client.py resumes a submit that was killed",
    "A classifier says how far it is": "a line of a classifier; one in test_client.py says it in both runners",
    "Where the job has the header `progress": "a message; its schema is held to the code by test_asyncapi.py",
    "`consumer status` shows": "the output of one moment; test_status.py asks for the same",
    "What failed for good": "the output of a day's work; test_deadletters.py does each of these",
    "finds in some seconds": "the output of one machine; test_check.py asks for a healthy one",
    "`consumer health live`": "a fragment for Kubernetes; test_probes.py asks both",
}


@pytest.mark.parametrize("taken", [*blocks()], ids=lambda taken: taken.lead[:40])
def test_every_block_is_run_or_has_its_reason(taken: Block) -> None:
    known = [lead for lead in (*RUN, *NOT_RUN) if taken.lead.startswith(lead)]
    assert len(known) == 1, f"list the block after {taken.lead!r} in RUN or NOT_RUN"


@pytest.mark.parametrize("lead", [*RUN, *NOT_RUN])
def test_what_is_listed_is_there(lead: str) -> None:
    assert any(taken.lead.startswith(lead) for taken in blocks())


@pytest.mark.parametrize("lead", RUN)
def test_the_test_of_a_block_takes_it_by_its_lead(lead: str) -> None:
    assert f'"{lead}"' in (TESTS / RUN[lead]).read_text()


def test_the_replies_shown_keep_their_schema() -> None:
    text, decode, end = block("### The reply").text.strip(), json.JSONDecoder().raw_decode, 0
    shown = []
    while end < len(text):
        reply, end = decode(text, end)
        shown.append(reply["status"])
        jsonschema.Draft202012Validator(asyncapi.schemas()["reply"]).validate(reply)
        end += len(text[end:]) - len(text[end:].lstrip())
    assert shown == ["succeeded", "failed"]


def test_the_variables_shown_for_tls_are_settings() -> None:
    names = [line.partition("=")[0] for line in block("### TLS").text.splitlines()]
    assert names
    assert {name.removeprefix("CONSUMER_").lower() for name in names} <= Settings.model_fields.keys()
