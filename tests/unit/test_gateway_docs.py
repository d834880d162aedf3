"""docs/gateway.md says what the code says: a row here is made from the code and must stand there."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumer.config.settings import Settings
from consumer.gateway.admission import MAX_INSIDE
from consumer.gateway.jobs import MAX_WAIT_S, RETRY_FIRST_S, RETRY_LAST_S
from consumer.gateway.problems import KINDS, Reason
from consumer.gateway.reply_cache import MAX_COUNT
from consumer.gateway.request_body import BODY_S, MAX_HELD_BYTES
from consumer.gateway.tokens import MIN_CHARACTERS
from consumer.telemetry.metrics import GATEWAY_NAMES
from consumer.telemetry.prometheus import prometheus_name
from consumer.wire.topology import GATEWAY_KEPT_S, GATEWAY_MAX_BYTES

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()
TEXT = " ".join(PAGE.split())


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_row(reason: Reason) -> None:
    kind = KINDS[reason]
    assert f"| {int(kind.status)} | `{reason}` | {kind.detail} | {kind.retry_after_s or ''} |\n" in PAGE


@pytest.mark.parametrize("name", GATEWAY_NAMES)
def test_every_metric_has_its_row(name: str) -> None:
    kind, _, meaning = GATEWAY_NAMES[name].partition(": ")
    assert f"| `{name}` | `{prometheus_name(name, kind)}` | {kind} | {meaning} |\n" in PAGE


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name.startswith("gateway_")])
def test_every_setting_has_its_row(name: str) -> None:
    field = Settings.model_fields[name]
    default = "" if field.default is None else f"`{field.default}`"
    assert f"| `{name}` | {default} | {field.description} |\n" in PAGE


@pytest.mark.parametrize(
    "said",
    [
        f"cut to {MAX_WAIT_S} s",
        f"from {RETRY_FIRST_S} to {RETRY_LAST_S}.",
        f"until it is {GATEWAY_KEPT_S // 3600} hours old",
        f"for {GATEWAY_KEPT_S // 3600} hours and up to {GATEWAY_MAX_BYTES // 10**6} MB",
        f"at most {MAX_COUNT:,} replies",
        f"at least {MIN_CHARACTERS} characters",
        f"at most `max_body_bytes` and {BODY_S:g} s",
        f"all bodies together {MAX_HELD_BYTES // 2**20} MiB",
        f"at most {MAX_INSIDE} requests at once",
    ],
)
def test_every_bound_is_told_as_it_is(said: str) -> None:
    assert said in TEXT
