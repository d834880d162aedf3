"""What systemd is told, on a real socket, as it would listen on it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from consumer.config.settings import Settings
from consumer.runners.environment import base_environment
from consumer.telemetry import systemd
from consumer.telemetry.health import Facts, Health
from consumer.telemetry.systemd import Systemd

LOADING = Facts()
SERVING = Facts(is_loaded=True, is_consuming=True, running=2, slots=4)
OUTAGE = Facts(is_loaded=True, slots=4)
STOPPING = Facts(is_loaded=True, is_consuming=True, is_stopping=True, running=1, slots=4)
STUCK = Facts(is_loaded=True, is_consuming=True, overdue=1, running=4, slots=4)
EXTEND = "EXTEND_TIMEOUT_USEC=30000000"


class Listener:
    """systemd's side of the socket, and the health that it is told of."""

    def __init__(self, named: str, bound: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(bound)
        self.environment = {"NOTIFY_SOCKET": named}
        self.health = Health()
        self.teller = Systemd(self.environment, self.health, clock_ns=lambda: 5_000_999)

    def told(self, facts: Facts) -> list[str]:
        """Give the lines that are sent for these facts."""
        self.health.facts = lambda: facts
        self.teller.report()
        return self.heard()

    def heard(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")

    def hears_nothing(self) -> bool:
        try:
            return not self.socket.recv(4096)
        except BlockingIOError:
            return True


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    name = f"consumer-test-{uuid4().hex}"
    path = str(tmp_path / "notify")
    opened = Listener(path, path) if request.param == "path" else Listener(f"@{name}", f"\0{name}")
    yield opened
    opened.socket.close()


def test_it_is_ready_once_when_jobs_reach_it_and_stops_once(listener: Listener) -> None:
    told = [listener.told(facts) for facts in (LOADING, OUTAGE, SERVING, OUTAGE, SERVING, STOPPING, STOPPING)]
    assert told == [
        ["STATUS=the classifier is being loaded", "WATCHDOG=1", EXTEND],
        ["STATUS=no jobs reach this consumer; 0 running in 4 slots", "WATCHDOG=1", EXTEND],
        ["READY=1", "STATUS=taking jobs; 2 running in 4 slots", "WATCHDOG=1"],
        ["STATUS=no jobs reach this consumer; 0 running in 4 slots", "WATCHDOG=1"],
        ["STATUS=taking jobs; 2 running in 4 slots", "WATCHDOG=1"],
        ["STOPPING=1", "STATUS=stopping; 1 running in 4 slots", "WATCHDOG=1", EXTEND],
        ["WATCHDOG=1", EXTEND],
    ]


def test_a_pool_that_does_not_turn_stops_the_pings_and_an_outage_of_rabbitmq_does_not(listener: Listener) -> None:
    assert "WATCHDOG=1" in listener.told(OUTAGE)
    assert not [line for line in listener.told(STUCK) if line.startswith(("WATCHDOG", "EXTEND"))]
    listener.teller.report()
    assert listener.hears_nothing()
    assert "WATCHDOG=1" in listener.told(SERVING)


def test_a_reload_begins_with_its_time_and_ends_ready(listener: Listener) -> None:
    with listener.teller.reloading():
        assert listener.heard() == ["RELOADING=1", "MONOTONIC_USEC=5000"]
    assert listener.heard() == ["READY=1"]


async def _told_for(listener: Listener, datagrams: int) -> list[list[str]]:
    loop = asyncio.get_running_loop()
    heard: list[list[str]] = []
    async with asyncio.timeout(30), listener.teller.reporting():
        while len(heard) < datagrams:
            heard.append((await loop.sock_recv(listener.socket, 4096)).decode().split("\n"))
    return heard


def test_it_pings_twice_in_each_watchdog_period(listener: Listener) -> None:
    period_s = 0.1
    environment = {
        **listener.environment,
        "WATCHDOG_USEC": f"{period_s * 1e6:.0f}",
        "WATCHDOG_PID": str(os.getpid()),
    }
    listener.teller = Systemd(environment, listener.health)
    heard = asyncio.run(_told_for(listener, 3))  # every 5 s this would take too long
    assert all("WATCHDOG=1" in lines for lines in heard)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "7"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(
    environment: dict[str, str], expected: float | None
) -> None:
    assert systemd.watchdog_s(environment, pid=7) == expected


@pytest.mark.parametrize("named", ["", "vsock:2:1234", "relative"])
def test_where_nobody_listens_nothing_is_sent_and_no_task_started(named: str) -> None:
    async def tasks() -> int:
        async with Systemd({"NOTIFY_SOCKET": named}, Health()).reporting():
            return len(asyncio.all_tasks())

    assert systemd.address({"NOTIFY_SOCKET": named}) is None
    assert asyncio.run(tasks()) == 1


def test_a_socket_that_has_gone_stops_nothing(listener: Listener) -> None:
    listener.socket.close()
    Systemd({"NOTIFY_SOCKET": "/nonexistent/notify"}, Health()).report()
    listener.teller.report()


@pytest.mark.parametrize("settings", [{"command": ("true",)}, {"classifier": "mine:classify"}])
def test_a_classifier_cannot_speak_for_us(settings: dict[str, Any]) -> None:
    ours = dict.fromkeys(("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY"), "/run/x")
    assert not ours.keys() & base_environment(Settings(**settings), ours)
