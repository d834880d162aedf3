"""The names of events in the log: each record of the service has one, and the list of them is complete."""

from __future__ import annotations

import ast
import json
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import consumer
from consumer.job import Request
from consumer.telemetry.log_context import BatchContext, JobContext
from consumer.telemetry.log_events import EVENTS, FIELDS
from consumer.telemetry.log_format import formatter

PRODUCT = Path(consumer.__file__).parent
#: At these levels a record has an event; DEBUG is for whoever reads the code beside it.
TOLD = {f"log.{level}" for level in ("log", "info", "warning", "error", "exception", "critical")}
#: A record at DEBUG may have one.
MAY_TELL = {*TOLD, "log.debug"}
#: What producers import logs into their program's log, not into ours.
MODULES = sorted(path for path in PRODUCT.rglob("*.py") if "client" not in path.relative_to(PRODUCT).parts)


def log_calls(names: set[str] = MAY_TELL) -> Iterator[tuple[str, str, list[str]]]:
    """Package, where it is, and the events of each log call. `extra` may be a name: then its dicts count."""
    for path in MODULES:
        tree = ast.parse(path.read_text())
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for call in ast.walk(function):
                    if isinstance(call, ast.Call) and ast.unparse(call.func) in names:
                        extra = next((word.value for word in call.keywords if word.arg == "extra"), None)
                        within = function if isinstance(extra, ast.Name) else extra or ast.Tuple([])
                        where = path.relative_to(PRODUCT)
                        yield where.parts[0], f"{where}:{function.name}", list(_events_in(within))


def _events_in(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Dict):
            found = dict(zip(map(ast.unparse, filter(None, each.keys)), each.values, strict=False))
            if isinstance(name := found.get("'event'"), ast.Constant):
                yield str(name.value)


def test_every_record_has_an_event() -> None:
    assert not [where for _, where, events in log_calls(TOLD) if not events]


def test_no_function_is_given_a_log_call_which_would_log_without_an_event() -> None:
    """Such as `up(report=log.info)`."""
    for path in MODULES:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
        given = [node for node in nodes if isinstance(node, ast.Attribute) and id(node) not in called]
        assert not TOLD & set(map(ast.unparse, given)), path


def test_the_list_of_events_is_the_events_that_are_logged() -> None:
    assert {event for *_, events in log_calls() for event in events} == set(EVENTS)


def test_a_package_logs_an_event_in_one_place() -> None:
    """So that a name means one thing: the same in two places is two things, or one function."""
    places = defaultdict(set)
    for package, where, events in log_calls():
        for event in events:
            places[package, event].add(where)
    assert not {key: found for key, found in places.items() if len(found) > 1}


def test_names_are_words_and_each_has_its_own_meaning() -> None:
    assert not [name for name in EVENTS if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name)]
    assert Counter(EVENTS.values()).most_common(1)[0][1] == 1


@pytest.mark.parametrize(("logger", "event"), [("consumer.service.service", "ready"), ("aiormq", None)])
def test_the_event_of_our_own_records_is_a_field(logger: str, event: str | None) -> None:
    record = logging.makeLogRecord({"name": logger, "msg": "ready: 2 slots", "event": "ready", "colour": "red"})
    found = json.loads(formatter("json").format(record))
    assert found.get("event") == event
    assert "colour" not in found


def test_every_field_of_a_record_is_explained_where_operators_read() -> None:
    page = (PRODUCT.parent / "docs/operate.md").read_text()
    table = page[page.index("## Logs") : page.index("## Dead letters")]
    request = Request(id="m", correlation_id="m", traceparent="00")
    fields = {*FIELDS, *JobContext(request, slot=0, model="m").fields(), *BatchContext([request], 0).fields()}
    assert not [name for name in sorted(fields) if f"`{name}`" not in table]
