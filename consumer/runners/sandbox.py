"""Sandboxes a program: puts bubblewrap's command line in front of that of the program.

The program has no network and sees only its own processes. It can write only to the job's folder. It can read only
the system's files, its own, the models, and files that the operator adds. If the sandbox is set but cannot work,
the service does not start, so no program ever runs without the sandbox. The sandbox is only for a program per job,
because warm workers share the resources of the fork server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from consumer.config.settings import Settings
from consumer.errors import ConfigurationError
from consumer.runners.programs import own_python

#: The system's files that programs need; in /etc only those for the loader, time zones, fonts and certificates.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/certs", "/nix", "/gnu"),
)
#: Where bubblewrap is searched for. PATH may contain folders of other users.
PLACES = "/usr/bin:/bin:/usr/local/bin"
#: Variables with folders that programs load code from.
FOLDER_VARIABLES = ("PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
#: The time limit of the trial at the start, which takes 10 ms.
TRIAL_TIMEOUT_S = 10.0
#: bubblewrap adds this to the number of the signal that ended its program, as a shell does.
SIGNAL_OFFSET = 128


@dataclass(frozen=True, slots=True)
class Sandbox:
    """bubblewrap's command line. `options` are the same for every job."""

    options: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings, environment: Mapping[str, str], argv: Sequence[str]) -> Self | None:
        """Make the sandbox for the program `argv` with `environment`; None if the setting `sandbox` is false.

        Raises:
            ConfigurationError: bubblewrap is not installed, or does not work here.
        """
        if not settings.sandbox:
            return None
        bwrap = shutil.which("bwrap", path=PLACES)
        if bwrap is None:
            raise ConfigurationError(
                "sandbox: the program bwrap does not exist; install bubblewrap, or set sandbox to false"
            )
        shown = [*_needed(argv, environment), settings.models_dir, *settings.sandbox_paths]
        made = cls((bwrap, *_options(shown, settings.max_memory_bytes)))
        made.try_out()
        return made

    def wrap(self, argv: Sequence[str], folder: Path) -> tuple[str, ...]:
        """Return the command line that runs a program in the sandbox, with write access to `folder`."""
        others = str(folder.parent)  # hides other jobs' folders, in case they are below a visible folder
        own = ("--tmpfs", others, "--bind", str(folder), str(folder), "--chdir", str(folder))
        closed = ("--remount-ro", others, "--remount-ro", "/")  # must be last: the options before it make folders
        return (*self.options, *own, *closed, "--", *argv)

    def try_out(self) -> None:
        """Run `true` in the sandbox.

        Raises:
            ConfigurationError: the sandbox does not work.
        """
        trial = (*self.options, "--", "/usr/bin/true")
        try:
            tried = subprocess.run(trial, capture_output=True, text=True, check=False, timeout=TRIAL_TIMEOUT_S)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigurationError(f"sandbox: bubblewrap does not run: {error}") from None
        if tried.returncode:
            raise ConfigurationError(
                f"sandbox: bubblewrap cannot work here: {tried.stderr.strip()}; it needs user namespaces "
                "(sysctl user.max_user_namespaces; in a container also what its seccomp profile allows)"
            )


def returncode_inside(returncode: int) -> int:
    """Return the program's return code, derived from that of bubblewrap."""
    return SIGNAL_OFFSET - returncode if SIGNAL_OFFSET < returncode < 2 * SIGNAL_OFFSET else returncode


def _options(shown: Sequence[Path], shm_bytes: int) -> Iterator[str]:
    # Not `--unshare-user-try`: without a user namespace, root would keep its rights over all mounted files.
    yield from ("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts")
    yield from ("--unshare-cgroup-try", "--die-with-parent", "--cap-drop", "ALL", "--proc", "/proc")
    for path in SYSTEM:
        yield from ("--ro-bind-try", path, path)
    yield from ("--dev", "/dev", "--size", str(shm_bytes), "--tmpfs", "/dev/shm", "--remount-ro", "/dev")  # noqa: S108 - the child's own
    for absolute in dict.fromkeys(str(path.absolute()) for path in shown):
        if absolute != "/usr" and not absolute.startswith("/usr/"):
            yield from ("--ro-bind-try", absolute, absolute)


def _needed(argv: Sequence[str], environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files and folders that a program needs, as far as they are known."""
    program = Path(argv[0])
    yield from (program, program.resolve())
    yield from _python_of(program)
    yield from (Path(word) for word in argv[1:] if word.startswith("/") and Path(word).is_file())
    for name in FOLDER_VARIABLES:
        yield from map(Path, filter(None, environment.get(name, "").split(os.pathsep)))
    yield from (own_python.START, own_python.START.with_name("classifier"))


def _python_of(program: Path) -> Iterator[Path]:
    """Yield the virtual environment of a Python, and its installation folder, which holds the standard library."""
    environment = program.parent.parent
    if (environment / "pyvenv.cfg").exists():
        yield environment
    if program.name.startswith("python"):
        yield program.resolve().parent.parent
