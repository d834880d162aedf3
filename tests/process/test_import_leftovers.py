"""What workers get of what their import left open or seeded, and how each begins and ends.

Two workers run jobs side by side, so that what they share shows: a job's answer is another's, or a number twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.async_tests import runs_async
from support.soak import often

from consumer.config.loader import load
from consumer.errors import ConfigurationError
from consumer.job import Crashed, Job, Outcome, Request, Succeeded, TimedOut
from consumer.runners.files.job_files import JobFiles
from consumer.runners.runner import Runner, open_runner

SIZE = 4
RECORDS = often(128, in_soak=512)


@dataclass
class Folder:
    """A folder with a module `mine`, and a runner that has imported it."""

    path: Path
    settings: dict[str, Any] = field(default_factory=dict)

    @asynccontextmanager
    async def serving(self, text: str, size: int = SIZE) -> AsyncIterator[Runner]:
        (self.path / "mine.py").write_text(text)
        settings = load({"classifier": "mine:classify", **self.settings}, {})
        surroundings = {"PATH": os.environ["PATH"], "PYTHONPATH": str(self.path)}
        with JobFiles.open(self.path / "jobs") as files:
            async with open_runner(settings, files, surroundings, size=size) as runner:
                yield runner


def shared(runner: Runner) -> list[str]:
    assert runner.workers
    assert runner.workers.server
    return runner.workers.server.shared


def reopened(runner: Runner) -> list[str]:
    assert runner.workers
    assert runner.workers.server
    return runner.workers.server.reopened


async def run(runner: Runner, slot: int = 0, *, timeout_s: float = 60.0, **body: object) -> Outcome:
    request = Request(id="id-1", correlation_id="c")
    return await runner.pool.slots[slot].run(
        Job(request=request, body=json.dumps(body).encode(), timeout_s=timeout_s)
    )


async def results(runner: Runner, count: int) -> list[Any]:
    """Run jobs `n` = 0, 1, … in all slots at once; return their outputs in that order."""
    found: dict[int, Any] = {}

    async def one_slot(slot: int) -> None:
        for number in range(slot, count, len(runner.pool.slots)):
            outcome = await run(runner, slot, n=number)
            assert isinstance(outcome, Succeeded), outcome
            found[number] = json.loads(outcome.output)

    await asyncio.gather(*map(one_slot, range(len(runner.pool.slots))))
    return [found[number] for number in range(count)]


@pytest.fixture
def folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Folder:
    caplog.set_level("DEBUG", logger="consumer")
    return Folder(tmp_path)


# Descriptors


READERS = {
    "an unbuffered file": "F = open(FILE, 'rb', buffering=0)\ndef read(n): F.seek(n * 8); return int(F.read(8))",
    "a buffered file": "F = open(FILE, 'rb', buffering=16)\ndef read(n): F.seek(n * 8); return int(F.read(8))",
    "a text file": "F = open(FILE)\ndef read(n): F.seek(n * 8); return int(F.read(8))",
    "a bare descriptor": "import os\nF = os.open(FILE, os.O_RDONLY)\n"
    "def read(n): os.lseek(F, n * 8, 0); return int(os.read(F, 8))",
    "a deleted file": "import os, shutil\nshutil.copy(FILE, FILE + '2')\nF = open(FILE + '2', 'rb', 0)\n"
    "os.unlink(FILE + '2')\n"
    "def read(n): F.seek(n * 8); return int(F.read(8))",
    "two descriptors of one file": "import os\nF = open(FILE, 'rb', 0)\nG = os.dup(F.fileno())\n"
    "def read(n): F.seek(n * 8); return int(os.read(G, 8))",
    "a lazy archive": "import numpy as np\nW = np.load(FILE + '.npz')\n"
    "def read(n): return int(W[f'a{n % 16}'][0]) + n // 16 * 16",
    "a file opened by preload": "F = None\ndef preload():\n    global F\n    F = open(FILE, 'rb', 0)\n"
    "def read(n): F.seek(n * 8); return int(F.read(8))",
}


@pytest.mark.soak
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@runs_async
async def test_each_worker_reads_a_file_of_the_import_at_its_own_offset(
    folder: Folder, caplog: pytest.LogCaptureFixture, reader: str
) -> None:
    table = folder.path / "table"
    table.write_text("".join(f"{number:8}" for number in range(RECORDS)))
    arrays: dict[str, Any] = {f"a{number}": np.full(5000, number) for number in range(16)}
    np.savez(folder.path / "table.npz", **arrays)
    text = f"FILE = {str(table)!r}\n{reader}\ndef classify(job): return [read(job['n']) for _ in range(20)]"
    async with folder.serving(text) as runner:
        assert await results(runner, RECORDS) == [[number] * 20 for number in range(RECORDS)]
        assert shared(runner) == []
        assert any(str(table) in what for what in reopened(runner))
    assert f"has opened file {table}" in caplog.text


@runs_async
async def test_a_file_goes_on_where_the_import_stopped_reading_it(folder: Folder) -> None:
    folder.settings["jobs_per_worker"] = 1
    (folder.path / "lines").write_text("header\nfirst\nsecond\n")
    opens = f"F = open({str(folder.path / 'lines')!r}, 'rb', 0)\nF.readline()\n"
    async with folder.serving(opens + "def classify(job): return F.readline().decode()", size=1) as runner:
        assert await results(runner, 2) == ["first\n"] * 2


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


#: Popen returns before the kernel has given the process its new name.
STARTED = """
def started(argv):
    process = subprocess.Popen(argv)
    while open(f"/proc/{process.pid}/comm").read().strip() != argv[0]:
        pass
    return process
"""

SHARED = {
    "socket.create_connection(('127.0.0.1', PORT))": "socket connected to 127.0.0.1:{port}",
    "socket.create_server(('127.0.0.1', 0))": "socket at 127.0.0.1:",
    "socket.socketpair()": "socket connected to a socket without a name",
    "open(FILE, 'r+b')": "file {file}, open for writing",
    "open(FILE, 'w')": "file {file}, open for writing",
    "tempfile.TemporaryFile()": ", open for writing",
    "sqlite3.connect(FILE + '.db')": "database {file}.db",
    "os.pipe()": "pipe pipe:",
    "select.epoll()": "anon_inode:[eventpoll]",
    "os.eventfd(0)": "anon_inode:[eventfd]",
    "mmap.mmap(-1, 8192)": "memory of 8,192 bytes that is mapped for writing",
    "started(['sleep', '100'])": " (sleep)",
    "[open(FILE) for _ in range(50)], os.eventfd(0)": "anon_inode:[eventfd]",
    "[os.eventfd(0) for _ in range(25)]": "5 more",
}


@pytest.mark.parametrize(("opened", "words"), SHARED.items(), ids=SHARED)
@runs_async
async def test_what_workers_share_is_named_with_its_path_or_peer_and_the_remedy(
    folder: Folder, caplog: pytest.LogCaptureFixture, listener: socket.socket, opened: str, words: str
) -> None:
    port, file = listener.getsockname()[1], folder.path / "table"
    file.touch()
    text = (
        "import mmap, os, select, socket, sqlite3, subprocess, tempfile\n"
        f"{STARTED}\nPORT, FILE = {port}, {str(file)!r}\nX = {opened}\n"
        "def classify(job): return 1"
    )
    async with folder.serving(text, size=1) as runner:
        found = shared(runner)
        assert any(words.format(port=port, file=file) in what for what in found), found
    assert "has opened a descriptor that all workers share" in caplog.text
    assert "open it in on_worker_start(), which each worker calls once before its first job" in caplog.text


HARMLESS = (
    "open(FILE, 'ab')",
    "logging.FileHandler(FILE)",
    "open('/dev/urandom', 'rb')",
    "open('/dev/null', 'w')",
    "mmap.mmap(os.open(FILE, os.O_RDONLY), 0, prot=mmap.PROT_READ)",
    "os.open(FILE, os.O_PATH)",
    "mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE)",
)


@pytest.mark.parametrize("opened", HARMLESS)
@runs_async
async def test_what_is_no_harm_is_not_reported_as_shared(folder: Folder, opened: str) -> None:
    file = folder.path / "table"
    file.write_bytes(b"content")
    text = f"import logging, mmap, os\nFILE = {str(file)!r}\nX = {opened}\ndef classify(job): return 1"
    async with folder.serving(text, size=1) as runner:
        assert shared(runner) == []


# The hook


CONNECTS = """
import os, socket
def on_worker_start():
    global CONNECTION, by
    CONNECTION, by = socket.create_connection(('127.0.0.1', {port})), os.getpid()
def classify(job): return [by == os.getpid(), CONNECTION.getsockname()[1]]
"""


@pytest.mark.parametrize("jobs_per_worker", [1, 50])
@runs_async
async def test_each_worker_has_a_connection_of_its_own_from_the_hook(
    folder: Folder, listener: socket.socket, jobs_per_worker: int
) -> None:
    folder.settings["jobs_per_worker"] = jobs_per_worker
    async with folder.serving(CONNECTS.format(port=listener.getsockname()[1])) as runner:
        found = await results(runner, 12)
        assert shared(runner) == []
    assert all(is_own for is_own, _ in found)
    assert len({port for _, port in found}) == (12 if jobs_per_worker == 1 else SIZE)


@runs_async
async def test_a_hook_that_fails_costs_a_job_one_attempt_and_says_why(folder: Folder) -> None:
    text = "def on_worker_start(): raise ConnectionError('no database')\ndef classify(job): return 1"
    async with folder.serving(text, size=1) as runner:
        for _ in range(2):
            outcome = await run(runner)
            assert isinstance(outcome, Crashed)
            assert outcome.stderr_tail.endswith("ConnectionError: no database\non_worker_start() failed")


@runs_async
async def test_a_hook_that_fails_at_first_is_called_again_for_the_first_job(folder: Folder) -> None:
    text = (
        "import os\ncalls = []\n"
        "def on_worker_start():\n    calls.append(1)\n    if len(calls) < 2: raise OSError('not yet')\n"
        "def classify(job): return len(calls)"
    )
    async with folder.serving(text, size=1) as runner:
        assert await results(runner, 2) == [2, 2]


@runs_async
async def test_a_hook_that_does_not_return_is_named_where_its_job_times_out(folder: Folder) -> None:
    text = "import threading\ndef on_worker_start(): threading.Event().wait()\ndef classify(job): return 1"
    async with folder.serving(text, size=1) as runner:
        outcome = await run(runner, timeout_s=0.2)
    assert isinstance(outcome, TimedOut)
    assert outcome.message == (
        "killed after 0.2 s without an answer (job_timeout_s); the worker had not begun the job: "
        "on_worker_start() may still be running"
    )


@runs_async
async def test_a_function_that_was_imported_brings_its_hook(folder: Folder) -> None:
    (folder.path / "inner.py").write_text(
        "is_started = False\n"
        "def on_worker_start():\n    global is_started\n    is_started = True\n"
        "def classify(job): return is_started"
    )
    async with folder.serving("from inner import classify", size=1) as runner:
        assert await results(runner, 1) == [True]


@runs_async
async def test_threads_of_the_hook_do_not_retire_the_worker(folder: Folder) -> None:
    text = (
        "import os, threading\n"
        "def on_worker_start(): threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "def classify(job): return os.getpid()"
    )
    async with folder.serving(text, size=1) as runner:
        assert len(set(await results(runner, 3))) == 1


# Functions that cannot take a job


UNFIT = {
    "async def classify(job): return 1": "is an `async def`, and a worker runs no event loop",
    "async def classify(job): yield 1": "is an `async def`, and a worker runs no event loop",
    "def classify(job): yield 1": "is a generator",
    "classify = 3": "is of type int, not a function: name a function",
    "class classify:\n    def __init__(self, job): ...": "is a class",
    "def classify(): return 1": "mine:classify() cannot be called with one argument, the job",
    "def classify(job, model): return 1": "missing a required argument: 'model'",
    "def classify(*, job): return 1": "too many positional arguments",
    "import functools\nasync def f(a, job): ...\nclassify = functools.partial(f, 1)": "is an `async def`",
    "class C:\n    async def __call__(self, job): ...\nclassify = C()": "is an `async def`",
    "from classifier import contract\n@contract.batch\nasync def classify(jobs): ...": "is an `async def`",
    "async def preload(): ...\ndef classify(job): ...": "mine.preload is an `async def`",
    "async def on_worker_start(): ...\ndef classify(job): ...": "mine.on_worker_start is an `async def`",
    "def on_worker_start(worker): ...\ndef classify(job): ...": "cannot be called with no argument",
}


@pytest.mark.parametrize(("text", "words"), UNFIT.items(), ids=UNFIT.values())
@runs_async
async def test_a_function_that_cannot_take_a_job_is_refused_at_the_start(
    folder: Folder, text: str, words: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        async with folder.serving(text, size=1):
            pass
    assert words in str(caught.value)
    assert "Traceback" not in str(caught.value)


FIT = (
    "classify = lambda job: 1",
    "def classify(job, *, threshold=0.5): return 1",
    "def classify(*jobs): return 1",
    "classify = len",
    "import functools\nclassify = functools.partial(lambda a, job: a, 1)",
    "class C:\n    def __call__(self, job): return 1\nclassify = C()",
    "class C:\n    def run(self, job): return 1\nclassify = C().run",
    "import functools\ndef f(job, model): return model\n@functools.wraps(f)\ndef classify(job): return f(job, 1)",
)


@pytest.mark.parametrize("text", FIT)
@runs_async
async def test_whatever_can_be_called_with_a_job_is_served(folder: Folder, text: str) -> None:
    async with folder.serving(text, size=1) as runner:
        assert await results(runner, 1) == [1]


# Random numbers


GENERATORS = {
    "a generator": "G = np.random.default_rng(1)\ndef draw(): return G.integers(2**60)",
    "a generator with another algorithm": "G = np.random.Generator(np.random.Philox(1))\n"
    "def draw(): return G.integers(2**60)",
    "a generator of old": "G = np.random.RandomState(1)\ndef draw(): return G.randint(2**30)",
    "one of old with another algorithm": "G = np.random.RandomState(np.random.PCG64(1))\n"
    "def draw(): return G.rand()",
    "Python's": "import random\nG = random.Random(1)\ndef draw(): return G.random()",
    "numpy's own": "np.random.seed(1)\ndef draw(): return np.random.rand()",
    "in a dict": "G = {'g': np.random.default_rng(1)}\ndef draw(): return G['g'].integers(2**60)",
    "in an object": "class A:\n    def __init__(self): self.g = np.random.default_rng(1)\nG = A()\n"
    "def draw(): return G.g.integers(2**60)",
    "a method": "draw = np.random.default_rng(1).random",
    "a default": "def draw(g=np.random.default_rng(1)): return g.random()",
    "a closure": "def made():\n    g = np.random.default_rng(1)\n    return lambda: g.random()\ndraw = made()",
    "in a class": "class A:\n    g = np.random.default_rng(1)\ndef draw(): return A.g.random()",
    "deep in an object": "class A:\n    def __init__(self): self.g = {'g': [np.random.default_rng(1)]}\nG = A()\n"
    "def draw(): return G.g['g'][0].random()",
    "in a partial": "import functools\ndraw = functools.partial(np.random.default_rng(1).random)",
    "in another module": "import other\ndef draw(): return other.G.random()",
}


@pytest.mark.parametrize("generator", GENERATORS.values(), ids=GENERATORS)
@runs_async
async def test_no_two_workers_draw_the_same_numbers(folder: Folder, generator: str) -> None:
    folder.settings["jobs_per_worker"] = 1
    (folder.path / "other.py").write_text("import numpy as np\nG = np.random.default_rng(1)\n")
    text = f"import numpy as np\n{generator}\ndef classify(job): return float(draw())"
    async with folder.serving(text, size=1) as runner:
        assert len(set(await results(runner, 4))) == 4


# The end of a worker


def is_there(path: str) -> bool:
    return Path(path).exists()


@pytest.mark.parametrize("jobs_per_worker", [1, 50])
@runs_async
async def test_a_worker_ends_like_a_program(folder: Folder, jobs_per_worker: int) -> None:
    """Its `atexit` handlers run, and what is left in buffers is written, to files of the import as well."""
    folder.settings["jobs_per_worker"] = jobs_per_worker
    text = (
        f"import atexit, logging, logging.handlers\nFOLDER = {str(folder.path)!r}\n"
        "LOG = open(FOLDER + '/of-import', 'a')\nLOG.write('import\\n')\n"
        "HANDLER = logging.handlers.MemoryHandler(100, target=logging.FileHandler(FOLDER + '/logged'))\n"
        "def bye():\n    with open(FOLDER + '/bye', 'a') as file: file.write('bye\\n')\n"
        "def classify(job):\n"
        "    global OWN\n    OWN = open(FOLDER + '/of-job', 'a')\n    OWN.write('job\\n')\n"
        "    LOG.write('job\\n')\n    atexit.register(bye)\n"
        "    HANDLER.handle(logging.makeLogRecord({'msg': 'record', 'levelno': 20}))\n"
        "    return 1"
    )
    async with folder.serving(text, size=1) as runner:
        await results(runner, 1)
    written = {name: (folder.path / name).read_text() for name in ("of-import", "of-job", "bye", "logged")}
    assert written == {"of-import": "import\njob\n", "of-job": "job\n", "bye": "bye\n", "logged": "record\n"}


@runs_async
async def test_what_a_warm_up_left_in_buffers_is_written_once(folder: Folder) -> None:
    folder.settings["jobs_per_worker"] = 1
    text = (
        f"import time\nPATH = {str(folder.path / 'of-warm-up')!r}\n"
        "def warm_up():\n    global LOG\n    LOG = open(PATH, 'a')\n    LOG.write('warm-up\\n')\n"
        "    time.sleep(0.01)\n"  # too slow to be repeated in workers
        "def classify(job):\n    LOG.write('job\\n')\n    return 1"
    )
    async with folder.serving(text, size=1) as runner:
        await results(runner, 2)
    assert (folder.path / "of-warm-up").read_text().splitlines() == ["warm-up"] * 2 + ["job"] * 2


@runs_async
async def test_a_temporary_folder_of_the_import_stays_until_the_last_worker_has_ended(folder: Folder) -> None:
    folder.settings["jobs_per_worker"] = 1
    text = (
        "import multiprocessing.util, os, tempfile\nfrom pathlib import Path\n"
        "D = tempfile.TemporaryDirectory()\n(Path(D.name) / 'table').write_text('content')\n"
        "F = multiprocessing.util.Finalize(None, os.unlink, (D.name + '/table',), exitpriority=1)\n"
        "def classify(job): return [(Path(D.name) / 'table').read_text(), D.name]"
    )
    async with folder.serving(text, size=1) as runner:
        found = await results(runner, 4)
    assert [content for content, _ in found] == ["content"] * 4
    assert not is_there(found[0][1])


@runs_async
async def test_stderr_of_a_job_that_succeeds_is_logged_for_debugging(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    text = "import logging\ndef classify(job):\n    logging.warning('look here')\n    return 1"
    async with folder.serving(text, size=1) as runner:
        await results(runner, 1)
    assert ("DEBUG", "stderr: WARNING:root:look here") in [(r.levelname, r.getMessage()) for r in caplog.records]


@runs_async
async def test_signal_handlers_of_the_import_are_gone_in_workers(folder: Folder) -> None:
    """With SIGCHLD ignored, the kernel would also reap workers before the fork server, which then could not."""
    text = """
import signal
NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXFSZ, signal.SIGCHLD)
for number in NUMBERS: signal.signal(number, signal.SIG_IGN)
def classify(job): return [signal.getsignal(number) is signal.SIG_DFL for number in NUMBERS]
"""
    folder.settings["jobs_per_worker"] = 1
    async with folder.serving(text, size=1) as runner:
        assert runner.workers
        server = runner.workers.server
        assert await results(runner, 3) == [[True] * 5] * 3
        assert runner.workers.server is server
