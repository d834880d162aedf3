"""Checks this machine: threads, open files, the job folder, statsd, the HTTP port and tracing.

Each check queries the system in one line, and a pure function judges, so that a test of a full disk needs no full
disk. The checks leave nothing behind: they remove the small job file that they write to the job folder.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from consumer.config.cpu_count import usable_cpus
from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.preflight.context import Site, in_daemon_thread
from consumer.preflight.finding import Finding, blamed, failure, mib, ok, warning
from consumer.runners.environment import THREAD_VARIABLES
from consumer.runners.files.job_files import JobFiles
from consumer.runners.files.job_folder import JobFolder
from consumer.telemetry import health_client
from consumer.telemetry.http_server import serving
from consumer.telemetry.tracer_setup import collector, see_installed

#: A worker has three pipes and a pidfd, its job a file and a folder; its successor has as many.
FILES_PER_SLOT = 12
#: How long a collector may take to accept a connection.
TRIAL_S = 3.0
#: The open files of the service: connections, log, epoll, fork server, libraries.
FILES_OF_OURS = 64


async def threads(site: Site) -> list[Finding]:
    """Check whether all slots together use more threads than there are CPUs."""
    return judged_threads(site.settings.pool_size, usable_cpus(), site.environment)


def judged_threads(slots: int, cpus: int, environment: Mapping[str, str]) -> list[Finding]:
    """Compare the slots, and the threads of each, with the CPUs."""
    findings = []
    if slots > cpus:
        findings.append(
            warning(
                f"pool_size is {slots}, but this process may use {cpus} CPUs: jobs slow each other down",
                f"set pool_size to {cpus}, unless jobs mostly wait",
            )
        )
    findings += [
        warning(
            f"{name} is {environment[name]!r} and pool_size {slots}: more threads than the {cpus} CPUs can run",
            f"unset {name}, so that it is 1, or lower pool_size",
        )
        for name in THREAD_VARIABLES
        if name in environment and not _fits(environment[name], slots, cpus)
    ]
    return findings or [ok(f"{slots} slots on {cpus} CPUs, no more threads than that")]


def _fits(threads: str, slots: int, cpus: int) -> bool:
    return threads.isdecimal() and int(threads) > 0 and (int(threads) == 1 or int(threads) * slots <= cpus)


async def open_files(site: Site) -> list[Finding]:
    """Check that the limit of open files suffices for all slots."""
    return [judged_files(site.settings.pool_size, resource.getrlimit(resource.RLIMIT_NOFILE)[0])]


def judged_files(slots: int, limit: int) -> Finding:
    """Compare the open files that the slots need with the limit."""
    needed = FILES_OF_OURS + FILES_PER_SLOT * slots
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return ok(f"{needed} at most, the limit is {'off' if limit == resource.RLIM_INFINITY else limit}")
    return failure(
        f"{slots} slots may need {needed} open files, and the limit is {limit}",
        f"raise it (`ulimit -n {needed}`; LimitNOFILE= in systemd), or lower pool_size",
    )


async def job_folder(site: Site) -> list[Finding]:
    """Write a job file, and check the space for more."""
    try:
        free = await in_daemon_thread(lambda: _free_space(site.settings.job_dir))
    except ConfigurationError as error:
        return [blamed(error)]
    return [judged_space(site.settings, *free)]


def _free_space(job_dir: Path) -> tuple[int, int | None]:
    """Return the free bytes and files; None for the files if the file system does not count them."""
    with JobFiles.open(job_dir) as files:
        try:
            with JobFolder(files.folder).job(b"{}"):
                found = os.statvfs(files.folder)
        except OSError as error:
            raise ConfigurationError(
                f"job_dir {str(job_dir)!r} cannot hold a job: {error.strerror}; free some space, or name another "
                "(CONSUMER_JOB_DIR)"
            ) from None
    return shutil.disk_usage(job_dir).free, found.f_favail if found.f_files else None


def judged_space(settings: Settings, free_bytes: int, free_files: int | None) -> Finding:
    """Compare the free space with the largest possible jobs."""
    folder, largest, jobs = settings.job_dir, settings.max_body_bytes, settings.pool_size
    space = f"{folder} has {mib(free_bytes)} free"
    if free_bytes < largest:
        return failure(
            f"{space}, and one job may have {mib(largest)} (max_body_bytes)",
            "free some space, name another job_dir, or lower max_body_bytes",
        )
    if free_files is not None and free_files < 2 * jobs:
        return failure(
            f"{folder} has space for {free_files} more files, and {jobs} jobs at once need {2 * jobs}",
            "remove files there (`df -i` counts them), or name another job_dir",
        )
    least = settings.min_free_bytes
    if free_bytes < least + largest:
        with_one = "" if free_bytes < least else f", and one job may have {mib(largest)} (max_body_bytes)"
        return failure(
            f"{space}{with_one}, and below {mib(least)} (min_free_bytes) the job that has written the most "
            "is killed",
            "free some space, name another job_dir, or lower min_free_bytes",
        )
    if free_bytes < least + largest * jobs:
        left_free = f", and {mib(least)} must stay free (min_free_bytes)" if least else ""
        return warning(
            f"{space}, and {jobs} jobs at once may have {mib(largest * jobs)} (pool_size times "
            f"max_body_bytes){left_free}",
            "free some space, name another job_dir, or lower max_body_bytes",
        )
    return ok(f"{space}, jobs take {mib(largest * jobs)} at most")


async def statsd(site: Site) -> list[Finding]:
    """Resolve statsd's name as the service does; UDP does not show whether anything listens."""
    host, port = site.settings.statsd_host, site.settings.statsd_port
    if host is None:
        return [ok("statsd_host is not set: no metrics")]
    try:
        found = await in_daemon_thread(lambda: socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM))
    except (OSError, UnicodeError) as error:
        return [
            warning(
                f"statsd_host {host!r} cannot be resolved ({error}): the service runs, without metrics",
                "correct statsd_host (an IPv4 address, or a name that has one), or the name server",
            )
        ]
    return [ok(f"{host} is {found[0][4][0]}; whether statsd listens at UDP port {port} cannot be seen from here")]


async def http(site: Site) -> list[Finding]:
    """Listen for a moment on the port for health and metrics."""
    settings = site.settings
    if settings.http_port is None:
        return [ok("http_port is not set: no health, no /metrics")]
    try:
        async with serving({}, settings.http_host, settings.http_port):
            return [ok(f"{settings.http_host}:{settings.http_port} is free")]
    except ConfigurationError as error:
        is_ours, _ = await in_daemon_thread(
            lambda: health_client.ask(settings.http_host, settings.http_port or 0, "/live")
        )
        if is_ours:
            return [
                warning(
                    f"http_port {settings.http_port}: a consumer listens there already",
                    "set another http_port for a second consumer on this machine",
                )
            ]
        return [blamed(error)]


async def tracing(site: Site) -> list[Finding]:
    """Check that OpenTelemetry is installed, and that something accepts its spans."""
    if not site.settings.tracing:
        return [ok("is off")]
    see_installed()
    url = urlsplit(collector(site.environment))
    host = url.hostname or ""  # without the password that the URL may hold
    try:
        port = url.port or {"http": 80, "https": 443}[url.scheme]
        await in_daemon_thread(lambda: socket.create_connection((host, port), TRIAL_S).close())
    except (OSError, ValueError, KeyError) as error:
        return [
            warning(
                f"no collector answers at {host!r} ({error}): the service runs, its spans are lost",
                "start one, or correct OTEL_EXPORTER_OTLP_ENDPOINT (http://host:4318)",
            )
        ]
    return [ok(f"a collector answers at {host}:{port}")]
