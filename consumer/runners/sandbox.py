"""What a classifier sees and reaches when it is shut in: bubblewrap's command line around its own.

No network, no process but its own, nothing to write to but the job's folder, and of all files only the system's,
the program's, the models and what the operator adds. Asked for and not to be had, it stops the start: it is never
left out. Only for a program per job: warm workers share what the fork server has.
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

#: What programs need of the system; of /etc only what the loader, the clock and font and certificate users read.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/localtime", "/etc/ssl/certs", "/nix", "/gnu"),
)
#: Where bubblewrap is looked for: not in a PATH that may be anybody's.
PLACES = "/usr/bin:/bin:/usr/local/bin"
#: Variables with folders that programs load code from.
FOLDER_VARIABLES = ("PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
#: The trial at the start: it takes 10 ms.
TRIAL_TIMEOUT_S = 10.0
#: bubblewrap says so when its program was ended by a signal, as a shell does.
SIGNAL_OFFSET = 128


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A command line that shuts a program in: `options` are the same for every job."""

    options: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings, environment: Mapping[str, str], argv: Sequence[str]) -> Self | None:
        """Make the sandbox that the settings ask for, for the program `argv` with `environment`; None if for none.

        Raises:
            ConfigurationError: bubblewrap is not there, or may not do its work here.
        """
        if not settings.sandbox:
            return None
        bwrap = shutil.which("bwrap", path=PLACES)
        if bwrap is None:
            raise ConfigurationError(
                "sandbox: there is no program bwrap; install bubblewrap, or set sandbox to false"
            )
        shown = [*_needed(argv, environment), settings.models_dir, *settings.sandbox_paths]
        made = cls((bwrap, *_options(shown, settings.max_memory_bytes)))
        made.try_out()
        return made

    def wrap(self, argv: Sequence[str], folder: Path) -> tuple[str, ...]:
        """Shut a program in with the one folder that it may write to."""
        others = str(folder.parent)  # other jobs' folders, should they lie below something that is shown
        own = ("--tmpfs", others, "--bind", str(folder), str(folder), "--chdir", str(folder))
        closed = ("--remount-ro", others, "--remount-ro", "/")  # the last: until then folders are made
        return (*self.options, *own, *closed, "--", *argv)

    def try_out(self) -> None:
        """Run nothing in it.

        Raises:
            ConfigurationError: that does not work.
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
    """Say how the program ended, from how bubblewrap did."""
    return SIGNAL_OFFSET - returncode if SIGNAL_OFFSET < returncode < 2 * SIGNAL_OFFSET else returncode


def _options(shown: Sequence[Path], shm_bytes: int) -> Iterator[str]:
    # No `--unshare-user-try`: without a user namespace root would keep its power over all that is mounted.
    yield from ("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts")
    yield from ("--unshare-cgroup-try", "--die-with-parent", "--cap-drop", "ALL", "--proc", "/proc")
    for path in SYSTEM:
        yield from ("--ro-bind-try", path, path)
    yield from ("--dev", "/dev", "--size", str(shm_bytes), "--tmpfs", "/dev/shm", "--remount-ro", "/dev")  # noqa: S108 - the child's own
    for absolute in dict.fromkeys(str(path.absolute()) for path in shown):
        if absolute != "/usr" and not absolute.startswith("/usr/"):
            yield from ("--ro-bind-try", absolute, absolute)


def _needed(argv: Sequence[str], environment: Mapping[str, str]) -> Iterator[Path]:
    """Give what a program is made of, as far as that can be told."""
    program = Path(argv[0])
    yield from (program, program.resolve())
    yield from _python_of(program)
    yield from (Path(word) for word in argv[1:] if word.startswith("/") and Path(word).is_file())
    for name in FOLDER_VARIABLES:
        yield from map(Path, filter(None, environment.get(name, "").split(os.pathsep)))
    yield from (own_python.START, own_python.START.with_name("classifier"))


def _python_of(program: Path) -> Iterator[Path]:
    """Give the virtual environment of a Python, and the folder where it was installed, which holds its library."""
    environment = program.parent.parent
    if (environment / "pyvenv.cfg").exists():
        yield environment
    if program.name.startswith("python"):
        yield program.resolve().parent.parent
