"""What `consumer status` shows: what is known, and a `-` for what is not."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console as Terminal

from consumer.cli.queue_state import MISSING, QueueState, Status, more_of, notes, prefetches, shortcomings
from consumer.cli.status import EXIT_NO_CONSUMER, exit_code, rendered
from consumer.config.settings import Settings
from consumer.rabbitmq.management import Console
from consumer.service.fleet import Member

AMQP = "amqp://me:p%40ss@rabbit/jobs"


def shown(status: Status, width: int = 120) -> str:
    out = io.StringIO()
    Terminal(file=out, width=width).print(rendered(status))
    return out.getvalue()


def test_what_only_the_management_api_knows_is_a_dash_without_it() -> None:
    jobs = QueueState("classifier.jobs", ready=3, consumers=2)
    text = shown(Status([jobs], notes=notes(jobs, None)))
    assert text.splitlines()[2].split() == ["classifier.jobs", "3", "-", "2", "-", "-", "-", "-"]
    assert "slots: -" in text
    assert "classifier.jobs cannot be compared" in text
    assert "set management_url" in text


@pytest.mark.parametrize("consumers", [None, 0, 1])
def test_with_one_consumer_or_none_there_is_nothing_to_compare(consumers: int | None) -> None:
    told = " ".join(notes(QueueState("classifier.jobs", ready=3, consumers=consumers), None))
    assert "compared" not in told
    assert "set management_url" in told


def test_a_consumer_that_the_management_api_does_not_list_yet_is_reported() -> None:
    jobs = QueueState("classifier.jobs", ready=3, consumers=2)
    age, unlisted = notes(jobs, 1)
    assert notes(jobs, 2) == [age]
    assert "up to 5 s old" in age
    assert unlisted.startswith("1 of 2 AMQP consumers are not listed")
    assert "`monitoring`" in unlisted  # without this tag, RabbitMQ never lists the consumers of other users


def test_slots_of_a_consumer_that_is_not_listed_are_unknown_and_not_none() -> None:
    started = QueueState("classifier.jobs", ready=0, consumers=1)
    assert "slots: unknown" in shown(Status([started], slots=0, slots_busy=0))
    nobody = QueueState("classifier.jobs", ready=0, consumers=0)
    results = QueueState("classifier.results", ready=0, consumers=1)
    assert "slots: 0 of 0 busy" in shown(Status([nobody, results], slots=0, slots_busy=0))


def test_the_management_api_adds_what_it_knows() -> None:
    told = {
        "state": "running",
        "messages": 5,
        "messages_unacknowledged": 2,
        "head_message_timestamp": 940,
        "message_stats": {"publish_details": {"rate": 1.5}, "ack_details": {"rate": 0.0}},
    }
    state = more_of(QueueState("classifier.jobs", ready=3, consumers=1), told, now=1000)
    text = shown(Status([state], slots=4, slots_busy=2, dead_by_model={"pumps": 2}, dead_oldest_s=7200))
    row = text.splitlines()[2].split()
    assert row == ["classifier.jobs", "3", "2", "1", "60s", "1.5", "-", "0.0"]
    assert "slots: 2 of 4 busy\n" in text
    assert "dead letters by model: pumps 2; the oldest is 2h old" in text


@pytest.mark.parametrize(
    ("busy", "held", "line"),
    [
        (2, 0, "slots: 2 of 4 busy; 0 of 16 jobs fetched ahead"),
        (4, 5, "slots: 4 of 4 busy; 5 of 16 jobs fetched ahead"),
    ],
)
def test_jobs_fetched_ahead_are_shown_beside_the_slots(busy: int, held: int, line: str) -> None:
    consumers = [
        {"queue": {"name": "jobs"}, "prefetch_count": 4, "arguments": {}},
        {"queue": {"name": "jobs"}, "prefetch_count": 16, "arguments": {"x-priority": -1}},
        {"queue": {"name": "other"}, "prefetch_count": 64, "arguments": []},
    ]
    slots, ahead = prefetches(consumers, "jobs")
    assert line in shown(Status([], slots, busy, ahead, held)).splitlines()


def test_a_queue_that_nobody_has_published_to_has_no_rates() -> None:
    assert more_of(QueueState("q", ready=0), {"messages": 0}, now=0).published_per_s is None
    assert more_of(QueueState("q"), None, now=0) == QueueState("q")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://rabbit:15672", Console("http://rabbit:15672", "me", "p@ss", "jobs", None)),
        ("http://boss:s%2F3@rabbit:15672/rmq", Console("http://rabbit:15672/rmq", "boss", "s/3", "jobs", None)),
    ],
)
def test_the_login_is_that_of_amqp_unless_the_url_has_one(url: str, expected: Console) -> None:
    settings = Settings.model_validate({"amqp_url": AMQP, "management_url": url})
    assert Console.of(settings, AMQP) == expected
    assert expected.password not in repr(expected)


def test_the_login_of_amqp_may_be_in_its_file(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("filed\n")
    settings = Settings.model_validate(
        {
            "amqp_url": "amqp://me@rabbit",
            "amqp_password_file": password,
            "management_url": "http://rabbit:15672",
        }
    )
    found = Console.of(settings, "amqp://me@rabbit")
    assert found is not None
    assert found.password == "filed"  # noqa: S105 - a test's


def test_consumers_and_warnings_are_shown() -> None:
    ours = Member("host:1", "mine:classify", "mine.py 0123", "0.1.0", 2, 1, "2026-01-31T12:00:00+00:00")
    text = shown(Status([], consumers=[ours, Member("t at 10.0.0.7")], warnings=["they differ"]))
    rows = [line.split() for line in text.splitlines()]
    assert ["host:1", "0.1.0", "1", "of", "2"] in [row[:5] for row in rows]
    assert ["t", "at", "10.0.0.7", "-", "-", "-"] in rows
    assert {"classifier: mine:classify", "loaded:     mine.py 0123"} <= set(text.splitlines())
    assert "warning: they differ" in text


def test_on_80_columns_no_word_of_a_consumer_is_broken() -> None:
    words = ("worker-host-04.example:4711", "site.classifiers.quality:classify_all_lines", "1.10.0")
    loaded = "classify.py 0123456789ab, machines.of.hall.4 3f2a91c04b1d, pumps 0123456789ab"
    one = Member(words[0], words[1], loaded, words[2], 16, 16, "2026-01-31T12:00:00+00:00")
    other = replace(one, name="worker-host-05.example:4711")
    shown_words = shown(Status([], consumers=[one, other]), width=80).split()
    assert {*words, *loaded.split(), other.name} <= set(shown_words)
    assert shown_words.count(words[1]) == 1  # once for both


@pytest.mark.parametrize(
    ("jobs", "code", "warning"),
    [
        (
            QueueState("jobs", MISSING),
            os.EX_CONFIG,
            "there is no queue 'jobs': no consumer has run with this `prefix`",
        ),
        (
            QueueState("jobs", ready=4, consumers=0),
            EXIT_NO_CONSUMER,
            "jobs wait in jobs (4) and no consumer takes them",
        ),
        (QueueState("jobs", ready=4, consumers=1), os.EX_OK, ""),
        (QueueState("jobs", ready=0, consumers=0), os.EX_OK, ""),
        (QueueState("jobs", "node is away"), os.EX_OK, ""),
    ],
    ids=str,
)
def test_a_script_learns_that_nobody_runs_the_jobs(jobs: QueueState, code: int, warning: str) -> None:
    assert exit_code(Status([jobs])) == code
    assert "".join(shortcomings([jobs])).startswith(warning)
    assert bool(shortcomings([jobs])) == bool(warning)


def test_a_deleted_queue_is_no_wrong_prefix() -> None:
    [warning] = shortcomings(
        [QueueState("jobs", MISSING), QueueState("dead", ready=1), QueueState("old", MISSING)]
    )
    assert "it was deleted" in warning
    assert "prefix` in this virtual host" not in warning


def test_a_queue_that_is_not_there_says_so_and_a_terminal_shows_all_of_it() -> None:
    away = QueueState("classifier.retry.1s", "node is away")
    text = shown(
        Status([QueueState("classifier.jobs", "missing"), away, QueueState("classifier.dead", ready=1)]), width=80
    )
    assert text.splitlines()[0].split()[-3:] == ["in/s", "out/s", "ack/s"]
    assert text.splitlines()[2].split() == ["classifier.jobs", *"-------"]
    assert {"missing: classifier.jobs", "node is away: classifier.retry.1s"} <= set(text.splitlines())


def test_a_queue_that_does_not_run_is_red_on_a_terminal() -> None:
    out = io.StringIO()
    found = Status([QueueState("classifier.jobs", "missing"), QueueState("classifier.dead", "running")])
    Terminal(file=out, force_terminal=True, color_system="standard", width=120, no_color=False).print(
        rendered(found)
    )
    red = [line for line in out.getvalue().splitlines() if "\x1b[31m" in line]
    assert len(red) == 2  # its row, and its state
    assert "classifier.jobs" in red[0]
