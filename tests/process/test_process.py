"""Bad children, each a real program, and what the runner makes of them. None of them outlives its test."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from left_behind import Watched, children, descriptors
from support.async_tests import never, runs_async
from support.soak import often
from support.waiting import PATIENCE_S

from consumer.config.job_limits import STDERR_TAIL_BYTES, Limits
from consumer.job import (
    Crashed,
    Failed,
    Interrupted,
    InvalidOutput,
    Outcome,
    OverLimit,
    Succeeded,
    TimedOut,
    Unsuccessful,
)
from consumer.runners.child import KILL_GRACE_S, LINGER_S
from consumer.runners.launcher import Launcher
from consumer.runners.resource_monitor import Folder, Monitor
from consumer.runners.run import Run as ProgramRun

LIMITS = Limits(timeout_s=PATIENCE_S / 2, max_line_bytes=1_000_000, max_stdout_bytes=10_000_000)
PYTHON = (sys.executable, "-I", "-S", "-u", "-c", "import fcntl, os, signal, sys, time\nexec(sys.argv[1])")
#: A child that prints its pid and hangs.
HANG = "print('LOG: pid', os.getpid())\nsignal.pause()"


@dataclass
class Run:
    """One run of a program. Log lines `pid N` name processes that are watched from then on."""

    folder: Path
    logs: list[str] = field(default_factory=list)
    watched: Watched = field(default_factory=Watched)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    interrupt_on: str | None = None
    interrupted: bool = False
    interrupt: asyncio.Future[None] | None = None

    async def argv(self, *argv: str, limits: Limits = LIMITS) -> Outcome:
        self.interrupt = never()
        if self.interrupted:
            self.interrupt.set_result(None)
        async with aclosing(Launcher(Monitor(), self.interrupt)) as launcher:
            return await launcher.execute(
                ProgramRun(limits, self._on_log),
                argv,
                folder=Folder(self.folder, []),
                environment={"PATH": os.defpath},
            )

    async def python(self, code: str, limits: Limits = LIMITS) -> Outcome:
        return await self.argv(*PYTHON, code, limits=limits)

    async def shell(self, code: str, limits: Limits = LIMITS) -> Outcome:
        return await self.argv("/bin/sh", "-c", code, limits=limits)

    def _on_log(self, text: str) -> None:
        self.logs.append(text)
        if text.startswith("pid "):
            self.watched.add(int(text.removeprefix("pid ")))
        if text == self.interrupt_on and self.interrupt:
            self.interrupt.set_result(None)
        self.started.set()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    yield made
    made.watched.close()


def within(timeout_s: float) -> Limits:
    return replace(LIMITS, timeout_s=timeout_s)


def told(outcome: Outcome) -> str:
    assert isinstance(outcome, Unsuccessful)
    return outcome.message


def tail(outcome: Outcome) -> str:
    assert isinstance(outcome, Unsuccessful)
    return outcome.stderr_tail


# What a program answers


@pytest.mark.parametrize(
    ("code", "output"),
    [
        ("echo 'OUTPUT: {\"a\": 1.10}'", b'{"a": 1.10}'),
        ("echo 'OUTPUT: 1'; echo 'OUTPUT: 2'", b"1"),
        ("echo 'OUTPUT: 1'; echo 'ERROR: late'", b"1"),
        ("echo 'OUTPUT: 1'; exit 3", b"1"),
        ("echo 'OUTPUT: 1'; kill -SEGV $$", b"1"),
        ("echo 'LOG: ERROR: not mine'; echo 'OUTPUT: 1'", b"1"),
        ("printf 'unfinished '; echo 'ERROR: x'; echo 'OUTPUT: 1'", b"1"),
        ("echo noise; echo; printf 'OUTPUT: 1\\r\\n'", b"1"),
        ("printf 'OUTPUT: 1'", b"1"),
        ("printf 'OUTPUT: 1'; exit 3", b"1"),
    ],
)
@runs_async
async def test_the_first_answer_decides_whatever_comes_around_it(run: Run, code: str, output: bytes) -> None:
    outcome = await run.shell(code)
    assert isinstance(outcome, Succeeded)
    assert outcome.output == output


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("echo 'ERROR: no such model'", "no such model"),
        ("printf 'ERROR: no newline'", "no newline"),
        ("echo 'ERROR:'", "the classifier gave no reason"),
        ("printf 'ERROR: \\377\\033[2J\\n'", r"\xff\x1b[2J"),
    ],
)
@runs_async
async def test_an_error_line_is_the_failure_in_its_own_words(run: Run, code: str, message: str) -> None:
    outcome = await run.shell(code + "; echo why >&2")
    assert isinstance(outcome, Failed)
    assert (outcome.message, outcome.stderr_tail) == (message, "why")


@pytest.mark.parametrize("output", ["", "{", "NaN", "[Infinity]", "{}{}", "\\377", '"\\377"', "None"])
@runs_async
async def test_an_output_that_is_no_json_is_told_apart(run: Run, output: str) -> None:
    outcome = await run.shell(f"printf 'OUTPUT: {output}\\n'")
    assert isinstance(outcome, InvalidOutput)
    assert outcome.message.startswith("the OUTPUT: line is not JSON: ")


@runs_async
async def test_log_lines_come_one_by_one_and_safe_to_log(run: Run) -> None:
    await run.shell("echo 'LOG: one'; printf 'LOG:\\377 \\033[2J\\n'; echo 'LOG: OUTPUT: 1'; echo 'OUTPUT: 1'")
    assert run.logs == ["one", r"\xff \x1b[2J", "OUTPUT: 1"]


@runs_async
async def test_a_large_answer_comes_through_whole(run: Run) -> None:
    outcome = await run.python("print('OUTPUT: \"' + 'x' * 900_000 + '\"')")
    assert isinstance(outcome, Succeeded)
    assert len(outcome.output) == 900_002


# Programs that end without an answer


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("missing", "does not exist; correct its name"),
        ("not executable", "is not executable for this user; make it executable"),
        ("folder", "is a folder"),
        ("no interpreter", "names the interpreter /no/such/interpreter, which does not exist"),
    ],
)
@runs_async
async def test_a_program_that_cannot_be_started_is_told_by_name_and_cause(run: Run, kind: str, cause: str) -> None:
    program = run.folder / "program"
    match kind:
        case "folder":
            program.mkdir()
        case "no interpreter":
            program.write_text("#!/no/such/interpreter\n")
            program.chmod(0o755)
        case "not executable":
            program.write_text("#!/bin/sh\n")
    outcome = await run.argv(str(program))
    assert isinstance(outcome, Crashed)
    assert outcome.message.startswith(f"the classifier could not be started: {program} {cause}")


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("true", "exited with code 0"),
        ("exit 3", "exited with code 3"),
        ("exit 127", "exited with code 127"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("kill -KILL $$", "killed by SIGKILL"),
        ("kill -40 $$", "killed by signal 40"),
    ],
)
@runs_async
async def test_an_end_without_an_answer_is_a_crash_in_words(run: Run, code: str, how: str) -> None:
    outcome = await run.shell(f"echo boom >&2; {code}")
    assert type(outcome) is Crashed
    assert outcome.message == f"{how} without an OUTPUT: or ERROR: line"
    assert outcome.stderr_tail == "boom"


@pytest.mark.parametrize(
    ("code", "how", "quoted"),
    [
        ("echo noise", "exited with code 0", 'the last line on stdout is "noise"'),
        ("printf 'OUTPUT'", "exited with code 0", 'the last line on stdout is "OUTPUT"'),
        (
            "printf '50 %%'; echo 'OUTPUT: 1'",
            "exited with code 0",
            'on stdout the line "50 %OUTPUT: 1" is no answer: ',
        ),
        (
            "printf 'OUTPUT: 1'; kill -KILL $$",
            "killed by SIGKILL",
            'the last line on stdout, "OUTPUT: 1", has no line',
        ),
    ],
)
@runs_async
async def test_an_end_without_an_answer_quotes_the_last_line_of_stdout(
    run: Run, code: str, how: str, quoted: str
) -> None:
    outcome = await run.shell(code)
    assert type(outcome) is Crashed
    assert outcome.message.startswith(f"{how} without an OUTPUT: or ERROR: line; {quoted}")


@runs_async
async def test_ten_megabytes_on_stderr_block_nothing_and_the_end_is_kept(run: Run) -> None:
    outcome = await run.python("sys.stderr.write('x' * 10_000_000 + 'the end\\n'); print('ERROR: e')")
    assert told(outcome) == "e"
    assert tail(outcome).endswith("xxxthe end")
    assert STDERR_TAIL_BYTES - 10 < len(tail(outcome)) <= STDERR_TAIL_BYTES


@runs_async
async def test_stderr_may_hold_any_bytes(run: Run) -> None:
    assert tail(await run.shell("printf 'caf\\303\\251 \\377' >&2")) == "café \\xff"


# Limits


@runs_async
async def test_a_five_megabyte_line_is_over_limit_and_the_child_is_gone(run: Run) -> None:
    outcome = await run.python("print('LOG: pid', os.getpid()); print('x' * 5_000_000); signal.pause()")
    assert isinstance(outcome, OverLimit)
    assert outcome.message == "killed: a line of more than 1MB on stdout (max_line_bytes)"
    assert run.watched.ended() == [True]


@runs_async
async def test_a_program_that_prints_without_end_is_over_limit_and_gone(run: Run) -> None:
    outcome = await run.python("print('LOG: pid', os.getpid())\nwhile True: print('x' * 1000)")
    assert isinstance(outcome, OverLimit)
    assert outcome.message == "killed: more than 10MB on stdout (max_stdout_bytes)"
    assert run.watched.ended() == [True]


@runs_async
async def test_an_answer_before_the_excess_counts(run: Run) -> None:
    outcome = await run.python("print('OUTPUT: 1'); print('x' * 5_000_000)")
    assert isinstance(outcome, Succeeded)


@runs_async
async def test_an_excess_that_is_read_after_the_end_is_still_over_limit(run: Run) -> None:
    """A pipe made larger holds more than one read takes; a loop blocked in `on_log` lets the child end first."""
    line = "fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20); print('LOG: pid', os.getpid(), '\\n' + 'x' * 500_000)"

    def await_end(text: str) -> None:
        if text.startswith("pid "):
            pidfd = os.pidfd_open(int(text.removeprefix("pid ")))
            select.select([pidfd], [], [])
            os.close(pidfd)

    async with aclosing(Launcher(Monitor(), never())) as launcher:
        made = ProgramRun(replace(LIMITS, max_line_bytes=200_000), await_end)
        outcome = await launcher.execute(made, (*PYTHON, line), folder=Folder(run.folder, []), environment={})
    assert isinstance(outcome, OverLimit)


# Time


@runs_async
async def test_a_program_that_hangs_is_timed_out_and_gone(run: Run) -> None:
    outcome = await run.python(HANG + "\nprint('OUTPUT: 1')", within(0.5))
    assert isinstance(outcome, TimedOut)
    assert outcome.message == "killed after 0.5 s without an answer (job_timeout_s)"
    assert all(run.watched.ended())


@runs_async
async def test_a_program_that_ignores_sigterm_is_killed(run: Run) -> None:
    outcome = await run.python("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + HANG, within(0.5))
    assert isinstance(outcome, TimedOut)
    assert outcome.run_s >= 0.5
    assert all(run.watched.ended())


@runs_async
async def test_a_program_that_stops_itself_is_timed_out_and_gone(run: Run) -> None:
    code = "print('LOG: pid', os.getpid()); os.kill(os.getpid(), signal.SIGSTOP)"
    assert isinstance(await run.python(code, within(0.5)), TimedOut)
    assert all(run.watched.ended())


@pytest.mark.parametrize("answer", ["ERROR: terminated", "OUTPUT: 1"])
@runs_async
async def test_what_a_program_says_once_its_time_is_over_is_not_its_answer(run: Run, answer: str) -> None:
    outcome = await run.shell(f"trap 'echo \"{answer}\"; exit 0' TERM; while :; do sleep 0.05; done", within(0.5))
    assert isinstance(outcome, TimedOut)


@pytest.mark.parametrize("answer", ["ERROR: terminated", "OUTPUT: 1"])
@runs_async
async def test_what_a_program_says_once_it_is_interrupted_is_not_its_answer(run: Run, answer: str) -> None:
    run.interrupt_on = "ready"
    trap = f"trap 'echo LOG: trapped; echo \"{answer}\"; exit 0' TERM"
    code = f"{trap}; echo LOG: ready; while :; do sleep 0.05; done"
    assert isinstance(await run.shell(code), Interrupted)
    assert run.logs == ["ready", "trapped"]


@runs_async
async def test_an_interrupt_ends_a_running_program(run: Run) -> None:
    run.interrupt_on = "now"
    assert isinstance(await run.python("print('LOG: now')\n" + HANG), Interrupted)
    assert all(run.watched.ended())


@runs_async
async def test_an_interrupt_that_came_before_the_start_counts(run: Run) -> None:
    run.interrupted = True
    assert isinstance(await run.python(HANG), Interrupted)
    assert all(run.watched.ended())


@runs_async
async def test_a_program_that_hangs_after_its_answer_has_answered_and_is_gone(run: Run) -> None:
    outcome = await run.python("print('LOG: pid', os.getpid()); print('OUTPUT: 1'); signal.pause()")
    assert isinstance(outcome, Succeeded)
    assert LINGER_S <= outcome.run_s < LINGER_S + KILL_GRACE_S
    assert run.watched.ended() == [True]


@runs_async
async def test_a_program_may_finish_its_work_after_its_answer(run: Run) -> None:
    assert isinstance(await run.shell("echo 'OUTPUT: 1'; sleep 0.1; echo done > finished"), Succeeded)
    assert (run.folder / "finished").read_text() == "done\n"


@runs_async
async def test_a_cancelled_run_leaves_no_process(run: Run) -> None:
    task = asyncio.create_task(run.shell("sleep 1000 & echo LOG: pid $!; echo LOG: pid $$; wait"))
    while len(run.watched) < 2:
        await run.started.wait()
        run.started.clear()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run.watched.ended() == [True, True]


@runs_async
async def test_a_run_that_is_cancelled_during_the_kill_grace_leaves_no_process(run: Run) -> None:
    run.interrupt_on = "ready"
    code = "signal.signal(signal.SIGTERM, lambda *_: print('LOG: asked'))\nprint('LOG: pid', os.getpid())"
    task = asyncio.create_task(run.python(code + "\nprint('LOG: ready')\nwhile True: signal.pause()"))
    while "asked" not in run.logs:
        await run.started.wait()
        run.started.clear()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run.watched.ended() == [True]


# Children of the program, and what is left of all


@pytest.mark.parametrize("answer", ["OUTPUT: 1", "nothing"])
@runs_async
async def test_a_grandchild_that_holds_stdout_is_killed_and_gone(run: Run, answer: str) -> None:
    outcome = await run.shell(f"sleep 1000 & echo LOG: pid $!; echo '{answer}'")
    assert isinstance(outcome, Succeeded if answer == "OUTPUT: 1" else Crashed)
    assert run.watched.ended() == [True]


@runs_async
async def test_a_grandchild_that_left_the_group_is_killed_and_gone(run: Run) -> None:
    outcome = await run.python(
        "r, w = os.pipe()\n"
        "if (pid := os.fork()) == 0:\n"
        "    os.setsid(); os.write(w, b'x'); signal.pause()\n"
        "os.read(r, 1); print('LOG: pid', pid); print('OUTPUT: 1')"
    )
    assert isinstance(outcome, Succeeded)
    assert run.watched.ended() == [True]


@runs_async
async def test_a_program_leads_a_group_and_a_session_of_its_own(run: Run) -> None:
    outcome = await run.python("print('OUTPUT:', int(os.getpid() == os.getpgrp() == os.getsid(0)))")
    assert isinstance(outcome, Succeeded)
    assert outcome.output == b"1"


@runs_async
async def test_a_program_inherits_no_descriptor_but_the_three(run: Run) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    outcome = await run.python("print('OUTPUT:', sorted(map(int, os.listdir('/proc/self/fd'))))")
    os.close(read)
    os.close(write)
    assert isinstance(outcome, Succeeded)
    assert outcome.output == b"[0, 1, 2, 3]"  # 3 is the listing's own


@pytest.fixture
def stdin_without_end() -> Iterator[None]:
    """Give ourselves a standard input that nobody writes to or closes, as a terminal is."""
    ours, (read, write) = os.dup(0), os.pipe()
    os.dup2(read, 0)
    yield
    os.dup2(ours, 0)
    for descriptor in (ours, read, write):
        os.close(descriptor)


@pytest.mark.usefixtures("stdin_without_end")
@runs_async
async def test_who_reads_stdin_finds_its_end_and_not_ours(run: Run) -> None:
    outcome = await run.python("print('OUTPUT:', len(sys.stdin.read()))", within(5))
    assert isinstance(outcome, Succeeded)
    assert outcome.output == b"0"


@pytest.mark.soak
@pytest.mark.parametrize(
    "code", ["echo 'OUTPUT: 1'", "exit 1", "head -c 200000 /dev/zero; sleep 1000", "sleep 1000 & exit 0"]
)
@runs_async
async def test_many_runs_leave_no_descriptor_and_no_zombie(run: Run, code: str) -> None:
    limits = replace(LIMITS, max_stdout_bytes=100_000)
    await run.shell(code, limits)  # the first one makes what stays for good, such as the loop's own descriptors
    before, opened = children(), descriptors()
    await asyncio.gather(*(run.shell(code, limits) for _ in range(often(12, in_soak=50))))
    assert descriptors() == opened
    assert children() == before


#: A consumer as a program of its own, whose child tells its pid and hangs.
CONSUMER = """
import asyncio, sys
from pathlib import Path
from consumer.runners.launcher import Launcher
from consumer.config.job_limits import Limits
from consumer.runners.run import Run
from consumer.runners.resource_monitor import Folder, Monitor

limits = Limits(timeout_s=1000, max_line_bytes=1000, max_stdout_bytes=1000)
argv = ["/bin/sh", "-c", "echo LOG: $$; exec sleep 1000"]

async def main():
    never = asyncio.get_running_loop().create_future()
    run = Run(limits, lambda text: print(text, flush=True))
    await Launcher(Monitor(), never).execute(run, argv, folder=Folder(Path("/"), []), environment={})

asyncio.run(main())
"""


def test_the_program_of_a_killed_consumer_dies_with_it(run: Run) -> None:
    with subprocess.Popen([sys.executable, "-c", CONSUMER], stdout=subprocess.PIPE, text=True) as consumer:
        assert consumer.stdout is not None
        run.watched.add(int(consumer.stdout.readline()))
        consumer.kill()
    assert run.watched.ended() == [True]
