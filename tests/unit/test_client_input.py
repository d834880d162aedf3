"""What a client is handed, and where it is called from: sent as the natural JSON, or refused by our own errors."""

from __future__ import annotations

import array
import asyncio
import json
import math
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic_core import from_json
from support.async_tests import runs_async

from consumer.client import (
    ArgumentError,
    BlockingClient,
    ClosedClientError,
    ForkedClientError,
    JobTooLargeError,
    UnsendableJobError,
    WrongLoopError,
)
from consumer.client.arguments import check_client, check_urls, seconds
from consumer.client.client import Client
from consumer.client.rpc_channel import Address, Caller, OnMessage
from consumer.client.types import as_body, as_job
from consumer.config.credentials import Credentials
from consumer.errors import ConfigurationError, ConnectionLostError
from consumer.rabbitmq.connection_scope import Lifetime
from consumer.wire.message import Message

URL = "amqp://nowhere"


class Echo(Caller):
    """A connection on which each job's reply is the job itself, unless it is silent or takes no such size."""

    def __init__(self, on_message: OnMessage, *, silent: bool = False, largest: int = 10_000) -> None:
        self.reply_to = "answers"
        self.mailbox = "answers"
        self.lifetime = Lifetime()
        self._on_message = on_message
        self._silent = silent
        self._largest = largest

    async def publish(self, message: Message, queue: str) -> None:  # noqa: ARG002 - as Caller's
        if len(message.body) > self._largest:
            raise JobTooLargeError("too large")
        reply = {
            "job_id": "1",
            "status": "succeeded",
            "attempt": 1,
            "run_ms": 1.0,
            "output": json.loads(message.body),
        }
        if not self._silent:
            self._on_message(Message(body=json.dumps(reply).encode(), correlation_id=message.correlation_id))

    async def count_consumers(self, queue: str) -> int | None:  # noqa: ARG002 - as Caller's
        return 1

    async def is_blocked(self) -> bool:
        return False

    async def lost(self) -> str:
        return await asyncio.shield(self.lifetime.ended)


@contextmanager
def echoes(*, silent: bool = False) -> Iterator[None]:
    """Open an `Echo` wherever a client opens a connection during the block."""

    @asynccontextmanager
    async def line(
        _url: str, _address: Address, on_message: OnMessage, _login: Credentials
    ) -> AsyncIterator[Echo]:
        yield Echo(on_message, silent=silent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Caller, "open", line)
        yield


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    with echoes():
        async with Client.open(URL) as client:
            yield client


@pytest.fixture
def opened() -> Iterator[BlockingClient]:
    with echoes(), BlockingClient.open(URL) as client:
        yield client


def in_a_fork(act: Callable[[], str]) -> str:
    """Return what `act` returns in a fork of this process, or the name of what it raises."""
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        try:
            told = act()
        except BaseException as error:  # noqa: BLE001 - told to the parent, and nothing of the test runs in the child
            told = type(error).__name__
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as told_by_child:
        told = told_by_child.read()
    os.waitpid(pid, 0)
    return told


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.classify([1.0]),
        lambda client: client.classify([1.0], timeout_s=1.0),
        lambda client: client.run({}),
        lambda client: next(client.as_completed([[1.0]])),
    ],
    ids=["classify", "with a timeout", "run", "as_completed"],
)
def test_a_fork_of_a_blocking_clients_process_is_refused_and_the_parent_goes_on(
    opened: BlockingClient, call: Callable[[BlockingClient], object]
) -> None:
    assert in_a_fork(lambda: str(call(opened))) == "ForkedClientError"
    assert opened.run({"n": 1}).output == {"n": 1}


def test_a_fork_that_leaves_the_block_or_drops_the_client_does_not_disturb_the_parent() -> None:
    block = BlockingClient.open(URL)
    with echoes(), block as client:
        coming: Any = client.as_completed([[1.0], [2.0]])
        next(coming)

        def leave() -> str:
            coming.close()
            block.__exit__(None, None, None)
            return "left"

        assert in_a_fork(leave) == "left"
        assert len(list(coming)) == 1
        assert client.run({"n": 1}).output == {"n": 1}


@runs_async
async def test_a_fork_of_an_async_clients_process_is_refused_and_may_leave_the_block() -> None:
    block = connected()
    client = await block.__aenter__()

    def call() -> str:
        calling = client.run({})
        calling.send(None)
        return "sent"

    def leave() -> str:
        try:
            block.__aexit__(None, None, None).send(None)
        except StopIteration:
            return "left"
        return "waits"

    assert in_a_fork(call) == "ForkedClientError"
    assert in_a_fork(leave) == "left"
    assert (await client.run({"n": 1})).output == {"n": 1}
    await block.__aexit__(None, None, None)


def test_the_error_in_a_fork_names_both_processes_and_the_remedy(opened: BlockingClient) -> None:
    def call() -> str:
        with pytest.raises(ForkedClientError) as told:
            opened.run({})
        return str(told.value)

    assert f"process {os.getpid()} opened this client" in (message := in_a_fork(call))
    assert "open a client in each process, after the fork" in message


@runs_async
async def test_another_loop_is_refused_at_once() -> None:
    async with connected() as client:

        def elsewhere() -> str:
            with pytest.raises(WrongLoopError) as told:
                asyncio.run(client.run({}))
            return str(told.value)

        assert "another event loop opened this client" in await asyncio.to_thread(elsewhere)


@runs_async
async def test_a_closed_client_says_so() -> None:
    async with connected() as client:
        pass
    with pytest.raises(ClosedClientError, match="the client is closed; open another one"):
        await client.run({})
    with pytest.raises(ClosedClientError):
        await anext(client.as_completed([]))


def test_a_closed_blocking_client_says_so() -> None:
    with echoes(), BlockingClient.open(URL) as client:
        pass
    with pytest.raises(ClosedClientError, match="the client is closed; open another one"):
        client.classify([1.0])
    with pytest.raises(ClosedClientError):
        next(client.as_completed([]))


def test_a_close_ends_the_calls_of_other_threads() -> None:
    heard: list[BaseException] = []
    taken = threading.Event()

    class Noticed(dict[str, int]):
        def items(self) -> Any:  # noqa: ANN401 - as dict's
            taken.set()
            return super().items()

    def call(client: BlockingClient) -> None:
        try:
            client.run(Noticed(n=1))
        except ConnectionLostError as error:
            heard.append(error)

    with echoes(silent=True), BlockingClient.open(URL) as client:
        thread = threading.Thread(target=call, args=[client])
        thread.start()
        assert taken.wait(60)
    thread.join()
    assert "the client is closed" in str(heard[0])


def test_a_call_in_the_clients_own_thread_is_refused(opened: BlockingClient) -> None:
    def jobs() -> Iterator[dict[str, str]]:
        with pytest.raises(WrongLoopError) as told:
            opened.run({})
        yield {"told": str(told.value)}

    assert "own thread would wait for itself" in next(opened.as_completed(jobs())).result().output["told"]


@pytest.mark.parametrize(
    "signal",
    [
        [np.float32(1), np.float64(2)],
        (1, 2.0),
        deque([1, 2]),
        range(1, 3),
        array.array("d", [1, 2]),
        memoryview(array.array("d", [1, 2])),
        np.array([1, 2], np.int8),
        np.array([1, 2], np.longdouble),
        [np.longdouble(1), np.int64(2)],
        (number for number in (1.0, 2.0)),
        map(float, "12"),
        {"a": 1, "b": 2}.values(),
    ],
    ids=lambda signal: type(signal).__name__,
)
def test_what_is_a_signal_is_sent_as_numbers(signal: Any) -> None:  # noqa: ANN401 - whatever callers have
    assert json.loads(as_body(as_job(signal, None))) == {"signal": [1, 2]}


class Frame:
    """As pandas' DataFrame: its iterator yields the column names."""

    columns = ("a", "b")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


@pytest.mark.parametrize(
    ("signal", "told"),
    [
        (Frame(), "send its rows"),
        ("12", "not str"),
        (b"12", "not bytes"),
        (bytearray(b"12"), "not bytearray"),
        (memoryview(b"12"), "memoryview"),
        ({1.0, 2.0}, "not set"),
        (None, "not NoneType"),
        (1.0, "not float"),
        (np.float64(1), "not one number"),
        (["1"], "signal[0] is '1'"),
        ([1.0, None], "signal[1] is None"),
        ([True], "signal[0] is True"),
        ([1.0, math.nan], "signal[1] is nan"),
        (np.array([1.0, np.inf]), "signal[1] is inf"),
        ([1j], "signal[0] is a complex"),
        (np.array(["2020-01-01"], "datetime64[ns]"), "has dates"),
        (np.array([b"a"]), "has bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,  # an address differs by process
)
def test_what_is_no_signal_is_refused_with_its_place(signal: Any, told: str) -> None:  # noqa: ANN401 - anything
    with pytest.raises(UnsendableJobError) as refused:
        as_job(signal, None)
    assert told in str(refused.value)


def test_numpys_values_and_keys_are_natural_json_wherever_they_stand() -> None:
    job = {
        "a": {np.int64(1): np.float32(0.5), np.str_("k"): np.bool_(True)},
        "b": [np.arange(2), (np.int8(3),)],
        None: 1,
    }
    assert json.loads(as_body(job)) == {"a": {"1": 0.5, "k": True}, "b": [[0, 1], [3]], "null": 1}  # type: ignore[arg-type]


def circle() -> dict[str, Any]:
    around: dict[str, Any] = {"a": []}
    around["a"].append(around)
    return around


def deep(levels: int) -> dict[str, Any]:
    inner: list[Any] = []
    for _ in range(levels - 2):
        inner = [inner]
    return {"a": inner}


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ({"a": [0, math.nan]}, "job['a'][1] is nan"),
        ({"a": "\ud800"}, "job['a'] has half a character"),
        ({"\ud800": 1}, "a key of job has half a character"),
        ({(1, 2): 1}, "job has the key (1, 2), a tuple"),
        ({b"a": 1}, "job has the key b'a', a bytes"),
        ({1: 0, "1": 0}, "two keys that are '1'"),
        (circle(), "job['a'][0] contains itself"),
        (deep(201), "nested deeper than 200 levels"),
        ({"a": 10**5000}, "job['a'] is a whole number of"),
        ({"a": b"x"}, "job['a'] is bytes"),
        ({"a": {1}}, "job['a'] is a set"),
        ({"a": object()}, "job['a'] is a object"),
        ({"a": Frame()}, "job['a'] is a Frame"),
        ([1], "a job is a mapping, not list"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_has_no_json_is_refused_with_its_place(job: Any, told: str) -> None:  # noqa: ANN401 - anything
    with pytest.raises(UnsendableJobError) as refused:
        as_body(job)
    assert told in str(refused.value)


def test_the_deepest_job_that_is_sent_is_one_that_the_service_reads() -> None:
    assert from_json(as_body(deep(200)))


@runs_async
async def test_one_bad_job_of_many_keeps_its_own_error() -> None:
    def broken() -> Iterator[float]:
        yield 1.0
        raise OSError("no such table")

    jobs: list[Any] = [[1.0], Frame(), None, {"a": {(): 1}}, broken(), {"a": "x" * 20_000}, [2.0]]
    async with connected() as client:
        ended = {done.index: done async for done in client.as_completed(jobs)}
    assert [index for index in range(7) if ended[index].error is None] == [0, 6]
    assert all(isinstance(ended[index].error, UnsendableJobError) for index in (1, 2, 3, 4))
    assert "OSError: no such table" in str(ended[4].error)
    assert isinstance(ended[5].error, JobTooLargeError)


@pytest.mark.parametrize(
    "url", ["localhost", '"amqp://localhost"', None, "", "http://x", b"amqp://x", "amqp:/x", 5, Path("amqp://x")]
)
def test_a_url_that_is_none_is_refused_before_anything_is_opened(url: Any) -> None:  # noqa: ANN401 - anything
    with pytest.raises(ConfigurationError, match="the AMQP URL"), BlockingClient.open(url):
        pass


@runs_async
async def test_the_async_client_refuses_such_a_url_too() -> None:
    with pytest.raises(ConfigurationError, match="the AMQP URL"):
        async with Client.open("localhost"):
            pass


def test_several_good_urls_pass() -> None:
    check_urls(" amqp://u:p@a:5672/v amqps://b\n")


@pytest.mark.parametrize("value", [-1, math.nan, "5", True, [1]])
@runs_async
async def test_a_timeout_that_is_none_is_refused(value: Any) -> None:  # noqa: ANN401 - anything
    async with connected() as client:
        with pytest.raises(ArgumentError, match=r"^timeout_s must be a number of seconds"):
            await client.run({}, timeout_s=value)
        with pytest.raises(ArgumentError, match=r"^run_timeout_s must be a number of seconds"):
            await client.run({}, run_timeout_s=value)
        with pytest.raises(ArgumentError, match=r"^timeout_s must be a number of seconds"):
            await anext(client.as_completed([[1.0]], timeout_s=value))


def test_numpys_numbers_are_timeouts_too() -> None:
    assert seconds("timeout_s", np.float32(0.5)) == 0.5
    assert seconds("timeout_s", math.inf) == math.inf
    assert seconds("timeout_s", None) is None


@pytest.mark.parametrize(
    "arguments", [("", 1, 1), ("q", 0, 1), ("q", 1.5, 1), ("q", 1, -1), (5, 1, 1), ("q", 1, None)]
)
def test_a_client_that_could_send_nothing_is_not_made(arguments: tuple[Any, Any, Any]) -> None:
    with pytest.raises(ArgumentError):
        check_client(*arguments)


@pytest.mark.parametrize(
    "headers",
    [{"h": object()}, {"h": 10**30}, {"h": "\ud800"}, {"h": np.float32(1)}, {5: 1}, {"k" * 129: 1}, {"": 1}, [1]],
    ids=lambda headers: repr(headers)[:20],
)
@runs_async
async def test_a_header_that_amqp_has_no_form_for_is_refused(headers: Any) -> None:  # noqa: ANN401 - anything
    async with connected() as client:
        with pytest.raises(ArgumentError, match="header"):
            await client.request(b"{}", headers=headers)
        assert (await client.request(b"{}", headers={"h": [1, "a", {"b": None}]})).output == {}


@runs_async
async def test_a_body_of_text_and_jobs_that_are_none_are_refused() -> None:
    async with connected() as client:
        with pytest.raises(ArgumentError, match="body must be bytes, not str"):
            await client.request("{}")  # type: ignore[arg-type]
        for one in (5, "1,2", {"n": 1}, pd.DataFrame({"a": [1.0]})):
            jobs: Any = one
            with pytest.raises(ArgumentError, match="jobs must be an iterable"):
                await anext(client.as_completed(jobs))


def test_a_program_without_a_log_configuration_gets_an_exception_and_no_log_of_the_amqp_library() -> None:
    program = (
        "from consumer.client import BlockingClient, BrokerUnreachableError\n"
        "try:\n"
        "    with BlockingClient.open('amqp://127.0.0.1:1'): pass\n"
        "except BrokerUnreachableError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("no RabbitMQ answered at amqp://127.0.0.1:1: ")
    assert done.stderr == ""
