"""The unit: what systemd's own tools say of it, and how it fares under a real systemd."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes.log_lines import records_of
from support.rabbitmq.management_api import Management
from support.rabbitmq.producer import Producer
from support.waiting import PATIENCE_S, wait_until
from systemd_machine import NAME, UNITS, Booted, booted, obstacle, write

UNIT = UNITS / NAME
#: Of 10. What is left is that it talks to the network and reads /proc.
MOST_EXPOSED = 1.5
#: A classifier that tells who it is, and whether it could speak for the service or find its login. May be slow.
PROGRAM = """
command = ["/bin/sh", "-c", '''
grep -q slow "$0" && echo LOG: begun && sleep 2
echo OUTPUT: $(id -u)$(env | grep -c -e NOTIFY -e CREDENTIALS -e PASSWORD)
''']
"""
#: Sooner than the unit has it; the time to stop is less than a slow job takes, so the consumer must ask for more.
SOONER = """
[Service]
WatchdogSec=2
RestartSec=0
TimeoutStopSec=1
"""


def analyzed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def verified(folder: Path, text: str) -> list[str]:
    """Give what systemd has against a unit, but for the program that is not installed here."""
    (folder / NAME).write_text(text)
    said = analyzed("verify", "--recursive-errors=no", folder / NAME).stderr.splitlines()
    return [line for line in said if NAME in line and "is not executable" not in line]


def test_systemd_takes_every_line_and_would_not_take_any(tmp_path: Path) -> None:
    text = UNIT.read_text()
    assert verified(tmp_path, text) == []
    [complaint] = verified(tmp_path, text.replace("WatchdogSec=60", "WatchdogSecs=60"))
    assert "Unknown key 'WatchdogSecs'" in complaint
    dropped = (UNITS / "sandbox.conf").read_text()
    assert verified(tmp_path, f"{text}\n{dropped}") == []


def exposure(folder: Path, text: str) -> float:
    (folder / NAME).write_text(text)
    said = analyzed("security", "--offline=true", folder / NAME).stdout
    return float(re.findall(r"Overall exposure level for \S+: ([\d.]+)", said)[0])


def test_it_is_open_to_little(tmp_path: Path) -> None:
    text = UNIT.read_text()
    assert exposure(tmp_path, text) <= MOST_EXPOSED
    assert (
        exposure(tmp_path, text.replace("ProtectSystem=strict", "").replace("PrivateUsers=yes", "")) > MOST_EXPOSED
    )


#: A warm worker; with a library that is large, and in C.
WARM = 'classifier = "numpy:ndim"'


def under(*settings: str) -> pytest.MarkDecorator:
    """Run a test on a machine for each of these settings."""
    return pytest.mark.parametrize("machine", settings, ids=map(str, range(len(settings))), indirect=True)


@pytest.fixture
def machine(request: pytest.FixtureRequest, management: Management, tmp_path: Path) -> Iterator[Booted]:
    node, vhost = management.node, management.vhost
    url = f"amqp://{node.user}@127.0.0.1:{node.amqp_port}/{vhost}"
    settings = f'amqp_url = "{url}"\npool_size = 1\nlog_format = "json"\n{request.param}'
    drop_ins = [SOONER]
    if "sandbox" in request.param:
        drop_ins.append((UNITS / "sandbox.conf").read_text())
    write(tmp_path / "given", settings, node.password, drop_ins)
    if reason := obstacle():
        pytest.skip(reason)
    with booted(tmp_path / "given") as up:
        yield up


@under(PROGRAM)
def test_it_starts_is_watched_and_stops_when_its_job_has_ended(machine: Booted, producer: Producer) -> None:
    machine.systemctl("start")
    assert machine.show("StatusText") == "taking jobs; 0 running in 1 slot"
    os.kill(machine.main_process(), signal.SIGSTOP)
    wait_until(lambda: machine.show("NRestarts") == "1", "the watchdog")
    wait_until(lambda: machine.show("ActiveState") == "active", "the next start")
    reply_to = producer.reply_queue()
    producer.publish("classifier.jobs", b'{"slow": true}', reply_to=reply_to)
    wait_until(lambda: machine.events("job_log"), "the slow job")
    machine.systemctl("stop")
    user, found = divmod(int(producer.take(reply_to).json["output"]), 10)
    assert user in range(61184, 65520)  # of systemd's making
    assert found == 0  # no variable of the service's own
    assert (machine.show("Result"), machine.show("ExecMainStatus")) == ("success", "0")
    assert records_of("stopped", machine.log().splitlines()[-1])


@under(WARM, f"{PROGRAM}\nsandbox = true")
def test_warm_workers_and_sandboxes_work_in_it_and_are_reloaded(machine: Booted, producer: Producer) -> None:
    machine.systemctl("start")
    reply_to = producer.reply_queue()
    producer.publish("classifier.jobs", b"{}", reply_to=reply_to)
    assert producer.take(reply_to).json["status"] == "succeeded"
    machine.systemctl("reload")
    wait_until(lambda: machine.events("reloaded") or machine.events("reload_needless"), "the reload")
    machine.systemctl("stop")
    assert machine.show("Result") == "success"


def test_the_unit_names_what_is_installed_there() -> None:
    assert "ExecStart=/opt/rabbitmq-classifier/bin/consumer run\n" in UNIT.read_text()
