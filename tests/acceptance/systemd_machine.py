"""A systemd of our own, as the first process of name spaces of its own, with the machine's files and network.

It starts nothing but what the test gives it, and what it mounts and starts is gone with it. It is told that it is
in a container, so it leaves the machine alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.processes.log_lines import LogLine, records_of
from support.waiting import PATIENCE_S, wait_until

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
NAME = "rabbitmq-classifier.service"
PROGRAM = '#!/bin/sh\nexec {python} -m consumer "$@"\n'
#: For the test: no other units, packages by another way, and the log in a file, for there is no journal.
TEST_CONF = """
[Unit]
DefaultDependencies=no
Wants=
After=
[Service]
Environment=PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/source:/opt/packages
StandardError=append:/run/log
"""
BOOT = """
set -e
echo $$ >"$GROUP/cgroup.procs"
mount --make-rprivate /
mount -t proc proc /proc
for folder in /run /opt /etc/systemd/system /var/lib /etc/rabbitmq-classifier; do
    mkdir -p $folder
    mount -t tmpfs -o mode=755 tmpfs $folder
done
mkdir -p /opt/source /opt/packages /opt/rabbitmq-classifier/bin /var/lib/rabbitmq-classifier
mount --bind "$SOURCE" /opt/source
mount --bind "$PACKAGES" /opt/packages
install -m 755 "$GIVEN/consumer" /opt/rabbitmq-classifier/bin/
cp "$GIVEN"/etc/* /etc/rabbitmq-classifier/
cp -r "$GIVEN"/units/* /etc/systemd/system/
for folder in /tmp /var/tmp; do
    mount -t tmpfs -o mode=1777 tmpfs $folder
done
mount --make-rshared /
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=none.target
"""


@dataclass(frozen=True)
class Booted:
    """`pid` is the first process, from outside."""

    pid: int

    def run(self, *argv: str, check: bool = True) -> str:
        """Run a program in there; give what it prints."""
        inside = ["nsenter", "--target", str(self.pid), "--mount", "--pid", *argv]
        done = subprocess.run(inside, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0 or not check, f"{argv}: {done.stdout}{done.stderr}{self.log()}"
        return done.stdout.strip()

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        return self.run("systemctl", *arguments, NAME, check=check)

    def show(self, name: str) -> str:
        """Give a property of the unit."""
        return self.run("systemctl", "show", "--property", name, "--value", NAME)

    def log(self) -> str:
        """Give what the consumer has logged."""
        path = Path(f"/proc/{self.pid}/root/run/log")
        return path.read_text() if path.exists() else ""

    def events(self, event: str) -> list[LogLine]:
        """Give what it has logged of an event, in JSON."""
        return records_of(event, self.log())

    def main_process(self) -> int:
        """Find the consumer's process, from outside."""
        inside = self.show("MainPID")
        pids = (int(path.name) for path in Path("/proc").glob("[0-9]*") if self._is(path, inside))
        return next(pids)

    def _is(self, process: Path, inside: str) -> bool:
        with suppress(OSError):
            numbers = (process / "status").read_text().partition("NSpid:")[2].split("\n")[0].split()
            parents = Path(f"/proc/{self.pid}/ns/pid").readlink() == (process / "ns/pid").readlink()
            return len(numbers) > 1 and numbers[-1] == inside and parents
        return False


def interpreter() -> Path:
    """Find a Python that the unit does not hide, as it does all in /home and /root, for the packages of ours."""
    ours = Path(sys.executable).resolve()
    return ours if ours.parts[1] not in ("home", "root") else Path("/usr/bin") / ours.name


def obstacle() -> str | None:
    """Say why no systemd can be started here; None if one can."""
    if os.geteuid() != 0:
        return "only root can start a systemd of its own"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "this container may not have name spaces of its own"
    return None if interpreter().exists() else f"the unit hides our Python, and there is no {interpreter()}"


def write(given: Path, settings: str, password: str, drop_ins: Sequence[str]) -> None:
    """Put together what the machine gets: the unit as it is, and files such as an operator makes."""
    drops = given / "units" / f"{NAME}.d"
    for folder in (drops, given / "etc"):
        folder.mkdir(parents=True)
    (given / "units" / NAME).write_text((UNITS / NAME).read_text())
    (given / "units" / "none.target").write_text("[Unit]\nDescription=nothing\n")
    for number, text in enumerate((TEST_CONF, *drop_ins)):
        (drops / f"{number}.conf").write_text(text)
    (given / "consumer").write_text(PROGRAM.format(python=interpreter()))
    (given / "etc" / "consumer.toml").write_text(settings)
    (given / "etc" / "amqp_password").write_text(password)
    (given / "etc" / "amqp_password").chmod(0o600)


@contextmanager
def booted(given: Path) -> Iterator[Booted]:
    """Boot; everything in there is killed after the block, and its control groups are removed."""
    with control_group() as group:
        variables = {
            "PATH": os.environ["PATH"],
            "GIVEN": str(given),
            "SOURCE": str(ROOT),
            "PACKAGES": sysconfig.get_path("purelib"),
            "GROUP": str(group),
        }
        # It ignores SIGTERM, and would outlive a test that is killed.
        apart = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--fork",
            "--kill-child",
            "--pid",
            "--mount",
            "--ipc",
            "--uts",
        ]
        console = (given / "console").open("w")
        with console, subprocess.Popen([*apart, "sh", "-c", BOOT], env=variables, stderr=console) as started:
            try:
                yield _up(started, given)
            finally:
                started.send_signal(signal.SIGKILL)
    with suppress(OSError):  # there before, with files in it
        Path("/etc/rabbitmq-classifier").rmdir()  # what was mounted there needed a folder


def _up(started: subprocess.Popen[bytes], given: Path) -> Booted:
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
    wait_until(lambda: started.poll() is not None or children.read_text(), "the first process")
    assert started.poll() is None, (given / "console").read_text()
    machine = Booted(int(children.read_text()))
    private = Path(f"/proc/{machine.pid}/root/run/systemd/private")
    wait_until(lambda: started.poll() is not None or private.exists(), "systemd")
    assert started.poll() is None, (given / "console").read_text()
    return machine


@contextmanager
def control_group() -> Iterator[Path]:
    """Give a control group that systemd makes its own below; without one it would use the machine's."""
    mounted = Path("/sys/fs/cgroup/unified")
    root = mounted if mounted.is_dir() else Path("/sys/fs/cgroup")
    group = root / f"consumer-test-{uuid.uuid4().hex[:8]}"
    group.mkdir()
    try:
        yield group
    finally:
        wait_until(lambda: _removed(group.name), "the control groups to be empty")


def _removed(name: str) -> bool:
    """Remove the groups of this name, of which systemd makes one in each hierarchy that there is."""
    found = [*Path("/sys/fs/cgroup").glob(name), *Path("/sys/fs/cgroup").glob(f"*/{name}")]
    for group in found:
        for folder in (*sorted(group.rglob("*/"), reverse=True), group):
            with suppress(OSError):
                folder.rmdir()
    return not any(group.exists() for group in found)
