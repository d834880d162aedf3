"""`consumer check` without RabbitMQ and without a classifier: settings, this machine, and what is told how."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pamqp.base import Frame
from pamqp.commands import Basic, Queue
from support.async_tests import runs_async
from support.consumer_check import Row, assert_told, checked
from support.fakes.amqp_peer import ScriptedPeer

from consumer.cli import main
from consumer.config.cpu_count import usable_cpus
from consumer.config.loader import load
from consumer.config.settings import Settings
from consumer.errors import BrokerRefusedError, ConfigurationError, ConnectionLostError
from consumer.job import ErrorCode
from consumer.local_broker.files import free_ports
from consumer.preflight import classifier, limits, machine, models, queues, rabbitmq
from consumer.preflight.checks import CHECKS, Check, examine
from consumer.preflight.classifier import SAMPLE_REMEDIES
from consumer.preflight.context import Site
from consumer.preflight.finding import (
    Finding,
    Level,
    as_json,
    blamed,
    failure,
    gathered,
    ok,
    refused,
    shown,
    skipped,
    skipped_because_of,
    summary,
    would_run,
)
from consumer.preflight.queues import Difference, difference_in
from consumer.rabbitmq.management import Console
from consumer.runners.fork_client import START_TIMEOUT_S
from consumer.telemetry.http_server import Page, serving
from consumer.wire.topology import Topology

OK, WARNING, FAILURE, SKIPPED = Level
MIB = 2**20


class Place:
    """Where a row brings about what is wrong."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.patch = monkeypatch
        self.opened: list[socket.socket] = []

    def file(self, name: str, text: str = "", mode: int = 0o644) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def free(self, size: int) -> None:
        self.patch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=size))

    def taken_port(self) -> int:
        """A port that somebody listens at who is no consumer."""
        self.patch.setattr("consumer.telemetry.health_client.TIMEOUT_S", 0.1)
        listening = socket.create_server(("127.0.0.1", 0))
        self.opened.append(listening)
        return int(listening.getsockname()[1])

    def may_open(self, files: int) -> None:
        self.patch.setattr("resource.getrlimit", lambda _: (files, files))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    made = Place(tmp_path, monkeypatch)
    yield made
    for opened in made.opened:
        opened.close()


def config(place: Place, text: str) -> Mapping[str, object]:
    return {"CONSUMER_CONFIG": place.file("service.toml", text)}


def room(place: Place, mib: int, **settings: object) -> Mapping[str, object]:
    place.free(mib * MIB)
    return {"job_dir": place.folder, "max_body_bytes": 4 * MIB, **settings}


def little_files(place: Place) -> Mapping[str, object]:
    place.may_open(256)
    return {"pool_size": 64}


def open_to_all(place: Place) -> Mapping[str, object]:
    (place.folder / "models").mkdir()
    (place.folder / "models").chmod(0o777)
    return {}


def without_opentelemetry(place: Place) -> Mapping[str, object]:
    place.patch.delitem(sys.modules, "consumer.telemetry.otel", raising=False)
    place.patch.setitem(sys.modules, "opentelemetry", None)
    return {"tracing": "true"}


def without_bubblewrap(place: Place) -> Mapping[str, object]:
    place.patch.setattr("consumer.runners.sandbox.PLACES", str(place.folder))
    return {"command": '["/bin/true"]', "sandbox": "true"}


#: Thirty-three of those that `consumer check` is to name. Others: test_check_classifier.py, test_check.py.
MISCONFIGURED = [
    Row(
        "a value out of range",
        lambda _: {"pool_size": 0},
        "settings",
        FAILURE,
        "pool_size = '0' from CONSUMER_POOL_SIZE: ",
        "`consumer settings pool_size` explains it",
    ),
    Row(
        "a setting that does not exist",
        lambda place: config(place, "pol_size = 4"),
        "settings",
        FAILURE,
        "service.toml: no such setting",
        "did you mean pool_size?",
    ),
    Row(
        "a misspelt variable",
        lambda _: {"CONSUMER_POOLSIZE": 4},
        "settings",
        WARNING,
        "CONSUMER_POOLSIZE is not a setting; did you mean CONSUMER_POOL_SIZE?",
        "rename it",
    ),
    Row(
        "jobs longer than RabbitMQ waits",
        lambda _: {"job_timeout_s": 3600},
        "settings",
        FAILURE,
        "a job may take 3600 s and 60 s to settle, but after 1800 s (consumer_timeout_s)",
        "set job_timeout_cap_s lower, or raise consumer_timeout",
    ),
    Row(
        "a consumer_timeout that somebody must have set",
        lambda _: {"job_timeout_s": 3600, "consumer_timeout_s": 7200},
        "time limits",
        WARNING,
        "consumer_timeout_s says that RabbitMQ's consumer_timeout is 7200 s; AMQP does not expose it",
        "application:get_env(rabbit, consumer_timeout).'` must print {ok,7200000}",
    ),
    Row(
        "more slots than CPUs",
        lambda place: place.may_open(10**6) or {"pool_size": usable_cpus() + 1},
        "threads",
        WARNING,
        f"but this process may use {usable_cpus()} CPUs",
        f"set pool_size to {usable_cpus()}",
    ),
    Row(
        "threads in every slot",
        lambda _: {"OMP_NUM_THREADS": 64, "pool_size": 1},
        "threads",
        WARNING,
        "OMP_NUM_THREADS is '64' and pool_size 1: more threads than",
        "unset OMP_NUM_THREADS",
    ),
    Row(
        "too few open files",
        little_files,
        "open files",
        FAILURE,
        "64 slots may need 832 open files, and the limit is 256",
        "`ulimit -n 832`; LimitNOFILE=",
    ),
    Row(
        "a job folder that is a file",
        lambda place: {"job_dir": place.file("jobs")},
        "job folder",
        FAILURE,
        "jobs is not a folder",
        "name a folder that this user may write to",
    ),
    Row(
        "no room for one job",
        lambda place: room(place, 3),
        "job folder",
        FAILURE,
        "has 3 MiB free, and one job may have 4 MiB (max_body_bytes)",
        "free some space, name another job_dir, or lower max_body_bytes",
    ),
    Row(
        "no room for all jobs",
        lambda place: room(place, 30, pool_size=8, min_free_bytes=0),
        "job folder",
        WARNING,
        "has 30 MiB free, and 8 jobs at once may have 32 MiB",
        "free some space, name another job_dir, or lower max_body_bytes",
    ),
    Row(
        "less room than is to be left free",
        lambda place: room(place, 40, min_free_bytes=64 * MIB),
        "job folder",
        FAILURE,
        "has 40 MiB free, and below 64 MiB (min_free_bytes) the job that has written the most is killed",
        "free some space, name another job_dir, or lower min_free_bytes",
    ),
    Row(
        "Docker's /dev/shm",
        lambda place: room(place, 64),
        "job folder",
        FAILURE,
        "has 64 MiB free, and one job may have 4 MiB (max_body_bytes), and below 64 MiB (min_free_bytes) the job",
        "free some space, name another job_dir, or lower min_free_bytes",
    ),
    Row(
        "no room for all jobs beside what is to be left free",
        lambda place: room(place, 95, pool_size=8, min_free_bytes=64 * MIB),
        "job folder",
        WARNING,
        "has 95 MiB free, and 8 jobs at once may have 32 MiB (pool_size times max_body_bytes), and 64 MiB must",
        "free some space, name another job_dir, or lower max_body_bytes",
    ),
    Row(
        "a result that is longer than stdout",
        lambda _: {"max_stdout_bytes": 1024},
        "limits",
        WARNING,
        "a result may have 1MiB (max_line_bytes), but all that a job prints only 1KiB",
        "raise max_stdout_bytes",
    ),
    Row(
        "CPU time that nobody can use up",
        lambda _: {"max_cpu_s": 10**9},
        "limits",
        WARNING,
        "max_cpu_s is 1e+09, and ",
        "lower max_cpu_s",
    ),
    Row(
        "a sandbox with no process left for the program",
        lambda _: {"command": '["/bin/true"]', "sandbox": "true", "max_processes": 2},
        "limits",
        FAILURE,
        "max_processes is 2, and the sandbox alone needs 2: every job is killed",
        "raise max_processes to 3 at least",
    ),
    Row(
        "a sandbox without bubblewrap",
        without_bubblewrap,
        "classifier",
        FAILURE,
        "sandbox: the program bwrap does not exist",
        "install bubblewrap, or set sandbox to false",
    ),
    Row(
        "files that the sandbox cannot show",
        lambda _: {"command": '["/bin/true"]', "sandbox": "true", "sandbox_paths": '["/no/such/file"]'},
        "limits",
        WARNING,
        "sandbox_paths names /no/such/file, which does not exist",
        "correct the path",
    ),
    Row(
        "files for a sandbox that is off",
        lambda _: {"command": '["/bin/true"]', "sandbox_paths": '["/usr"]'},
        "limits",
        WARNING,
        "sandbox_paths is set, but sandbox is not: no program is sandboxed",
        "set sandbox to true",
    ),
    Row(
        "more memory than there is",
        lambda _: {"max_memory_bytes": 2**60},
        "memory",
        WARNING,
        "one job may have 1,099,511,627,776 MiB (max_memory_bytes), and there are ",
        "lower max_memory_bytes",
    ),
    Row(
        "an http_port that somebody has",
        lambda place: {"http_port": place.taken_port()},
        "http",
        FAILURE,
        "of http_host '127.0.0.1': ",
        "choose another",
    ),
    Row(
        "an http_host that is not ours",
        lambda _: {"http_port": 0, "http_host": "192.0.2.1"},
        "http",
        FAILURE,
        "cannot listen on http_port 0 of http_host '192.0.2.1': ",
        "choose another",
    ),
    Row(
        "a port that Kubernetes has set",
        lambda _: {"CONSUMER_HTTP_PORT": "tcp://10.0.0.7:80"},
        "settings",
        FAILURE,
        "from CONSUMER_HTTP_PORT: Kubernetes has set it, for a Service called `consumer-http`",
        "set enableServiceLinks: false in the pod, or call the Service otherwise",
    ),
    Row(
        "tracing without OpenTelemetry",
        without_opentelemetry,
        "tracing",
        FAILURE,
        "`tracing` is on, but OpenTelemetry is not installed",
        "pip install 'rabbitmq-classifier[otel]'",
    ),
    Row(
        "a collector that is away",
        lambda _: {
            "tracing": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://u:hunter2@127.0.0.1:{free_ports(1)[0]}",
        },
        "tracing",
        WARNING,
        "no collector answers at '127.0.0.1' ([Errno 111] Connection refused)",
        "correct OTEL_EXPORTER_OTLP_ENDPOINT",
    ),
    Row(
        "a statsd that has no address",
        lambda _: {"statsd_host": "statsd..local"},
        "statsd",
        WARNING,
        "statsd_host 'statsd..local' cannot be resolved",
        "correct statsd_host",
    ),
    Row(
        "models that everybody may write",
        open_to_all,
        "models",
        WARNING,
        "every user may write to ",
        "chmod o-w ",
    ),
    Row(
        "a program that is not there",
        lambda _: {"command": '["./classify.sh"]'},
        "classifier",
        FAILURE,
        "command: no program './classify.sh' that can be executed",
        "give its full path",
    ),
    Row(
        "a program that may not be executed",
        lambda place: {"command": f'["{place.file("classify.sh", "#!/bin/sh", 0o644)}"]'},
        "classifier",
        FAILURE,
        "classify.sh' that can be executed",
        "make it executable (chmod +x)",
    ),
    Row(
        "no RabbitMQ named",
        lambda _: {},
        "RabbitMQ",
        WARNING,
        "amqp_url is not set",
        "set CONSUMER_AMQP_URL=amqp://user:password@host:5672/vhost",
    ),
    Row(
        "nobody at the address",
        lambda _: {"amqp_url": f"amqp://guest:hunter2@127.0.0.1:{free_ports(1)[0]}"},
        "RabbitMQ",
        FAILURE,
        "no RabbitMQ answered at amqp://guest:***@127.0.0.1:",
        "is it running, and are host and port right?",
    ),
    Row(
        "TLS files without TLS",
        lambda _: {"amqp_url": "amqp://guest:hunter2@127.0.0.1", "amqp_ca_file": "/ca.pem"},
        "settings",
        FAILURE,
        "amqp_ca_file is set, but an amqp:// URL is not encrypted and would ignore it",
        "write amqps:// in amqp_url",
    ),
    Row(
        "a password file that is not there",
        lambda _: {"amqp_url": "amqp://guest@127.0.0.1", "amqp_password_file": "/no/such/file"},
        "RabbitMQ",
        FAILURE,
        "amqp_password_file '/no/such/file' cannot be read: No such file",
        "it must be there, and readable by this user",
    ),
]


@pytest.mark.parametrize("row", MISCONFIGURED, ids=lambda row: row.name)
def test_what_is_wrong_is_told_with_its_remedy(row: Row, place: Place) -> None:
    given = row.arrange(place)
    needs = ("job folder", "models") if row.check == "classifier" else ()
    findings = checked(given, row.check, *needs)
    told = [one for one in findings if one.level != Level.SKIPPED]
    assert_told(row, told)
    assert "hunter2" not in "".join(map(shown, findings))


def test_what_is_well_here_is_ok(place: Place) -> None:
    given = {"command": '["/bin/true"]', "job_dir": place.folder, "pool_size": 1, "statsd_host": "127.0.0.1"}
    names = (
        *("threads", "open files", "limits", "memory", "processes", "job folder"),
        *("statsd", "http", "tracing", "models", "classifier", "time limits"),
    )
    findings = checked(given, *names)
    assert [one.what for one in findings] == ["settings", *names]
    assert {one.level for one in findings} == {Level.OK}, findings
    assert not any(one.remedy for one in findings)
    assert list(place.folder.iterdir()) == []


def test_a_check_whose_need_has_failed_is_skipped_and_says_because_of_which(place: Place) -> None:
    findings = checked({"job_dir": place.file("jobs"), "amqp_url": f"amqp://127.0.0.1:{free_ports(1)[0]}"})
    because = {one.what: one.detail for one in findings if one.level == Level.SKIPPED}
    assert because == {
        "classifier": "because of job folder",
        "sample job": "because of classifier",
        **dict.fromkeys(
            ("version", "management", "consumers", "queues", "dead letters", "permissions", "publishing"),
            "because of RabbitMQ",
        ),
    }


def test_without_settings_nothing_else_is_looked_at() -> None:
    first, *others = checked({"pool_size": 0})
    assert (first.what, first.level) == ("settings", Level.FAILURE)
    assert [one.what for one in others] == [check.name for check in CHECKS]
    assert {(one.level, one.detail) for one in others} == {(Level.SKIPPED, "because of settings")}


@runs_async
async def test_a_check_that_takes_too_long_is_a_failure_and_the_next_goes_on() -> None:
    async def hangs(_: object) -> list[Finding]:
        await asyncio.Event().wait()
        return []

    checks = [Check("slow", hangs, within_s=0.01), Check("threads", machine.threads)]
    findings = [one async for one in examine(Settings, {}, None, checks)]
    assert [(one.what, one.level) for one in findings[1:]] == [("slow", Level.FAILURE), ("threads", Level.OK)]
    assert findings[1].detail == "no answer within 0.01 s"


@runs_async
async def test_who_talks_amqp_and_is_no_rabbitmq_is_asked_nothing_more() -> None:
    async with ScriptedPeer.open() as peer:
        settings = load({}, {"CONSUMER_AMQP_URL": peer.url})
        names = ("RabbitMQ", "version", "queues", "permissions", "publishing")
        checks = [check for check in CHECKS if check.name in names]
        findings = [one async for one in examine(lambda: settings, {}, None, checks)]
    levels = {one.what: one.level for one in findings}
    assert levels == {
        "settings": Level.OK,
        "RabbitMQ": Level.OK,
        "version": Level.FAILURE,
        **dict.fromkeys(("queues", "permissions", "publishing"), Level.SKIPPED),
    }


@pytest.mark.parametrize(
    ("name", "method"), [("queues", Queue.Declare), ("permissions", Basic.Consume), ("publishing", Basic.Publish)]
)
def test_a_connection_that_is_lost_meanwhile_is_told_and_the_checks_go_on(name: str, method: type[Frame]) -> None:
    @runs_async
    async def examined() -> None:
        async with ScriptedPeer.open() as peer:
            peer.instead[method] = lambda heard: heard.link.cut()
            settings = load({}, {"CONSUMER_AMQP_URL": peer.url})
            by_name = {check.name: replace(check, needs=()) for check in CHECKS}
            checks = [by_name["RabbitMQ"], by_name[name], by_name["time limits"]]
            *_, lost, last = [one async for one in examine(lambda: settings, {}, None, checks)]
        assert (lost.what, lost.level, last.level) == (name, Level.FAILURE, Level.OK)
        assert lost.detail.startswith("the connection to RabbitMQ was lost: ")
        assert "see RabbitMQ's log" in lost.remedy

    examined()


@pytest.mark.parametrize(
    ("product", "version", "declare", "level"),
    [
        ("RabbitMQ", "3.10.8", True, OK),
        ("RabbitMQ", "4.3.1", False, OK),
        ("RabbitMQ", "4.2.0-rc.1", True, OK),
        ("RabbitMQ", "3.9.29", True, FAILURE),
        ("RabbitMQ", "4.3.0", True, OK),
        ("RabbitMQ", "4.3.0", False, WARNING),
        ("RabbitMQ", "4.2.6", False, WARNING),
        ("LavinMQ", "2.4.0", True, FAILURE),
        ("RabbitMQ", "", True, FAILURE),
    ],
)
def test_versions(product: str, version: str, declare: bool, level: Level) -> None:
    assert rabbitmq.judged_version(product, version, declare=declare).level == level


@pytest.mark.parametrize(
    ("queue", "told_s"),
    [
        ({}, None),
        ({"arguments": {}}, None),
        ({"arguments": {"x-consumer-timeout": 600_000}}, 600),
        ({"arguments": {}, "effective_policy_definition": {"consumer-timeout": 90_000}}, 90),
        (
            {"arguments": {"x-consumer-timeout": 5000}, "effective_policy_definition": {"consumer-timeout": 9000}},
            5,
        ),
        ({"arguments": {}, "effective_policy_definition": []}, None),
    ],
)
def test_the_consumer_timeout_that_a_queue_has(queue: dict[str, object], told_s: float | None) -> None:
    assert rabbitmq.consumer_timeout_s(queue) == told_s


@pytest.mark.parametrize(
    ("settings", "told_s", "level", "told"),
    [
        ({}, None, OK, "AMQP does not expose it"),
        ({}, 661, OK, "the queue's consumer timeout is 661 s"),
        ({}, 660, FAILURE, "redeliver it again and again"),
        ({"consumer_timeout_s": 0}, None, WARNING, "consumer_timeout is off"),
        ({"consumer_timeout_s": 0}, 660, FAILURE, "redeliver it again and again"),
    ],
)
def test_time_limits(settings: dict[str, float], told_s: float | None, level: Level, told: str) -> None:
    found = rabbitmq.judged_time(Settings.model_validate(settings), told_s)
    assert found.level == level
    assert told in found.detail


GIB = 2**30


@pytest.mark.parametrize(("usable", "level"), [(4 * GIB, OK), (4 * GIB - 1, WARNING), (2 * GIB - 1, WARNING)])
def test_memory_for_one_job_and_for_all(usable: int, level: Level) -> None:
    settings = Settings.model_validate({"pool_size": 2, "max_memory_bytes": 2 * GIB})
    found = limits.judged_memory(settings, usable)
    assert found.level == level
    assert ("2 jobs at once" in found.detail) == (usable == 4 * GIB - 1)


@pytest.mark.parametrize(
    ("limit", "sandbox", "level"),
    [
        (None, False, OK),
        (32 + 2 * 64, False, OK),
        (32 + 2 * 64 - 1, False, WARNING),
        (36, False, WARNING),
        (35, False, FAILURE),
        (39, True, FAILURE),
    ],
)
def test_processes_for_the_slots_and_for_all_that_jobs_may_start(
    limit: int | None, sandbox: bool, level: Level
) -> None:
    settings = Settings.model_validate({"pool_size": 2, "command": ["/bin/true"], "sandbox": sandbox})
    assert limits.judged_processes(settings, limit).level == level


def test_memory_and_processes_of_a_control_group_are_found_wherever_they_are_set(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/memory.max").write_text("1000\n")
    (tmp_path / "a/b/memory.max").write_text("max\n")
    (tmp_path / "a/b/pids.max").write_text("50\n")
    proc = tmp_path / "cgroup"
    proc.write_text("0::/a/b\n")
    assert limits.usable_memory(proc, tmp_path) == 1000
    assert limits.usable_processes(proc, tmp_path) == 50


@pytest.mark.parametrize(
    ("version", "is_asked", "levels"), [("4.3.0", True, [WARNING]), ("4.3.0", False, []), ("4.3.1", True, [])]
)
def test_a_version_that_does_not_tell_that_a_caller_has_gone(
    version: str, is_asked: bool, levels: list[Level]
) -> None:
    assert [found.level for found in rabbitmq.judged_callers(version, is_asked=is_asked)] == levels


@runs_async
async def test_a_consumer_that_listens_already_is_told_from_a_stranger() -> None:
    async with serving({"/live": lambda: Page(HTTPStatus.OK, "yes")}, "127.0.0.1", 0) as port:
        settings = load({"http_port": port}, {})
        async with AsyncExitStack() as opened:
            [found] = await machine.http(Site(settings, {}, None, opened))
    assert (found.level, found.detail) == (WARNING, f"http_port {port}: a consumer listens there already")


@pytest.mark.parametrize(("files", "level"), [(None, OK), (4, OK), (3, FAILURE)])
def test_a_file_system_without_room_for_files(files: int | None, level: Level) -> None:
    assert machine.judged_space(Settings.model_validate({"pool_size": 2}), 10**9, files).level == level


@pytest.mark.parametrize(
    ("name", "ours", "theirs", "difference"),
    [
        ("x-dead-letter-exchange", "'dlx'", "'x'", ("dlx", "x")),
        ("x-dead-letter-exchange", "'5'", "the value 'dlx' of type 'longstr'", ("5", "dlx")),
        ("x-delivery-limit", "'100'", "'5'", (100, 5)),
        ("x-max-length", "none", "the value '5' of type 'signedint'", (None, 5)),
        ("x-overflow", "the value 'reject-publish' of type 'longstr'", "none", ("reject-publish", None)),
        ("durable", "'true'", "'false'", (True, False)),
        ("type", "'fanout'", "'direct'", ("fanout", "direct")),
    ],
)
def test_a_difference_is_read_from_rabbitmqs_words(
    name: str, ours: str, theirs: str, difference: tuple[Any, Any]
) -> None:
    text = f"inequivalent arg '{name}' for queue 'q' in vhost '/': received {ours} but current is {theirs}"
    assert difference_in(text) == Difference(name, *difference)


def test_other_words_than_we_know_are_no_difference() -> None:
    assert difference_in("what a later version says") is None


def test_a_policy_counts_as_much_as_an_argument() -> None:
    jobs = next(queue for queue in Topology("classifier", 2).queues() if queue.name == "classifier.jobs")
    arguments = dict(jobs.arguments)
    exchange = arguments.pop("x-dead-letter-exchange")
    told = {"durable": True, "arguments": arguments}
    assert queues.compared(jobs, told) == [Difference("x-dead-letter-exchange", exchange, None)]
    assert queues.compared(jobs, {**told, "effective_policy_definition": {"dead-letter-exchange": exchange}}) == []


def console(amqp_url: str, **settings: object) -> Console | None:
    return Console.of(load({"amqp_url": amqp_url, **settings}, {}), amqp_url)


def test_the_login_to_the_management_api_is_its_own_or_that_of_amqp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("p:w\n")
    files = {"amqp_password_file": tmp_path / "password"}
    assert console("amqp://h") is None
    shared = console("amqp://u%40x@h/v%2Fw", management_url="http://h:15672/", **files)
    assert shared == Console("http://h:15672/", "u@x", "p:w", "v/w", None)
    monkeypatch.setenv("CONSUMER_MANAGEMENT_URL", "https://m:q@h")
    own = Console.of(load({"amqp_url": "amqps://u@h", **files}, os.environ), "amqps://u@h")
    assert own is not None
    assert (own.management_url, own.user, own.password, own.vhost) == ("https://h", "m", "q", "/")
    assert own.tls is not None
    assert "q" not in repr(own).replace("https", "")


def test_a_password_that_tls_protects_is_not_sent_in_clear_text(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2")
    with pytest.raises(ConfigurationError, match="write https:// in management_url"):
        console("amqps://u@h", management_url="http://h:15672", amqp_password_file=tmp_path / "password")
    with pytest.raises(ConfigurationError, match="names no user"):
        console("amqp://h", management_url="http://h:15672")


LOADING = "the classifier classifier.classify:classify cannot be loaded, exited with code 1:\n"


@pytest.mark.parametrize(
    ("text", "details", "remedy"),
    [
        (
            LOADING + "loading a\nloading b\na is not trusted; run this\nb is old: train it again",
            ["a is not trusted", "b is old"],
            "",
        ),
        (
            "the classifier x:y cannot be loaded, not done after 120 s:\nloading big",
            ["the classifier x:y cannot be loaded, not done after 120 s, loading big"],
            "load less",
        ),
        (
            LOADING + "Traceback (most recent call last):\n  File ...\nKeyError: 'x'",
            ["classifier.classify:classify does not load: KeyError: 'x'"],
            "consumer try",
        ),
        ("no worker could be forked; lower pool_size", ["no worker could be forked"], "lower pool_size"),
    ],
)
def test_why_a_classifier_does_not_load_is_taken_apart(text: str, details: list[str], remedy: str) -> None:
    found = classifier.complaints(text, Settings())
    assert [one.detail for one in found] == details
    assert all(remedy in one.remedy and one.remedy for one in found)


@pytest.mark.parametrize(
    ("found", "detail", "remedy"),
    [
        (blamed(ConfigurationError("a is wrong; do b; or c")), "a is wrong", "do b; or c"),
        (blamed(BrokerRefusedError("a: no")), "a: no", "check again; if the fault remains, see RabbitMQ's log"),
        (blamed(ConnectionLostError("a; b")), "a; b", "check again; if the fault remains, see RabbitMQ's log"),
        (refused("a: b; c: d"), "a: b", "c: d"),
        (refused("a: b: c"), "a: b", "c"),
    ],
)
def test_an_error_is_parted_into_what_and_remedy(found: Finding, detail: str, remedy: str) -> None:
    assert found == Finding(Level.FAILURE, detail, remedy)


def test_what_is_shown_cannot_move_a_cursor_or_begin_a_line() -> None:
    text = shown(Finding(Level.FAILURE, "a\x1b[2J\nb\rc", "d\ne\x1b[0m", "queues"))
    assert text == (
        "failure  queues          a\\x1b[2J\n"
        "                         b\\rc\n"
        "                         remedy: d\\ne\\x1b[0m"
    )


def test_json_says_whether_it_would_run_and_all_that_was_found() -> None:
    findings = [Finding(Level.OK, "fine", what="a"), Finding(Level.WARNING, "hm", "do", "b")]
    assert json.loads(as_json(findings)) == {
        "would_run": True,
        "checks": [
            {"check": "a", "level": "ok", "detail": "fine", "remedy": None},
            {"check": "b", "level": "warning", "detail": "hm", "remedy": "do"},
        ],
        "skipped": [],
    }
    assert summary(findings) == "1 ok, 1 warning"
    assert summary(findings[1:] * 2) == "2 warnings"
    assert not would_run([*findings, Finding(Level.FAILURE, "no", "do", "c")])


def test_json_names_the_checks_that_were_skipped_because_of_another_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main.main(["check", "--json", "--pool-size", "x"])
    found = json.loads(capsys.readouterr().out)
    assert [one["check"] for one in found["checks"]] == ["settings"]
    assert found["skipped"] == [{"because_of": "settings", "checks": [check.name for check in CHECKS]}]


def test_the_longest_check_has_the_time_that_loading_has() -> None:
    bounds = [check.within_s for check in CHECKS if check.within_s is not None]
    assert max(bounds) < START_TIMEOUT_S + 20
    assert {check.name for check in CHECKS if check.within_s is None} == {"sample job"}


def test_a_name_server_that_does_not_answer_costs_its_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: held.wait(60) and [])
    slow = [Check("statsd", machine.statsd, within_s=0.05)]
    settings = load({}, {"CONSUMER_STATSD_HOST": "slow"})

    @runs_async
    async def examined() -> None:
        findings = [one async for one in examine(lambda: settings, {}, None, slow)]
        assert findings[1].detail == "no answer within 0.05 s"

    examined()
    held.set()


def test_every_error_code_that_a_sample_can_end_with_has_its_remedy() -> None:
    assert set(SAMPLE_REMEDIES) == set(ErrorCode) - {ErrorCode.UNROUTABLE_REPLY}


def test_checks_that_are_skipped_because_of_one_are_one_line() -> None:
    found = [
        replace(skipped_because_of("RabbitMQ"), what="version"),
        replace(ok("fits"), what="memory"),
        replace(skipped_because_of("RabbitMQ"), what="queues"),
        replace(skipped_because_of("models"), what="classifier"),
        replace(skipped("no sample job given"), what="sample job"),
    ]
    assert [(one.what, one.detail) for one in gathered(found)] == [
        ("2 checks", "because of RabbitMQ: version, queues"),
        ("classifier", "because of models"),
    ]


def test_a_finding_is_as_wide_as_the_terminal_and_its_commands_stay_whole() -> None:
    command = "`rabbitmqctl set_permissions -p classifier consumer ^classifier.* ^classifier.* ^classifier.*`"
    lines = shown(replace(failure("a " * 60, f"run {command} and more"), what="permissions"), 80).splitlines()
    assert max(len(line) for line in lines if command not in line) <= 80
    assert any(line.strip() == command for line in lines)


def test_one_wrong_setting_is_two_lines_and_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["check", "--pool-size", "x"])
    failed, remedy, others, counted = capsys.readouterr().out.splitlines()
    assert failed.startswith("failure  settings        pool_size = 'x' from --pool-size")
    assert remedy.strip().startswith("remedy: `consumer settings pool_size`")
    assert others.startswith(f"skipped  {len(CHECKS)} checks       because of settings: threads, ")
    assert (counted, ended.value.code) == (f"1 failure, {len(CHECKS)} skipped", 1)


@pytest.mark.parametrize(
    ("files", "settings", "is_missing"),
    [
        ([], {}, True),
        (["notes.txt"], {}, True),
        (["pumps.model"], {}, False),
        (["pumps.onnx.model"], {}, False),
        ([], {"classifier": "mine:classify"}, False),
        ([], {"command": '["true"]'}, False),
    ],
)
def test_a_service_without_a_model_for_its_own_classifier_fails(
    files: list[str], settings: dict[str, str], is_missing: bool, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).touch()
    found = models.no_models(load({"models_dir": str(tmp_path), **settings}, {}))
    assert (found is not None) == is_missing


def test_a_models_folder_that_is_not_there_is_no_folder(tmp_path: Path) -> None:
    found = models.no_models(load({"models_dir": str(tmp_path / "none")}, {}))
    assert found
    assert (found.level, found.detail) == (
        Level.FAILURE,
        f"no models in {tmp_path / 'none'}, which is no folder",
    )
