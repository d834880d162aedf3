"""Who waits for a connection's sake waits no longer than it lasts; who has begun goes on."""

from __future__ import annotations

import asyncio

import pytest
from support.async_tests import never, runs_async

from consumer.errors import ConnectionLostError
from consumer.rabbitmq.connection import may_be_lost
from consumer.rabbitmq.connection_scope import Lifetime, Waiting


async def wait(lifetime: Lifetime) -> None:
    with Waiting(lifetime):
        await never()


@runs_async
async def test_a_wait_ends_with_its_lifetime_and_is_told_why() -> None:
    lifetime = Lifetime()
    task = asyncio.create_task(wait(lifetime))
    await asyncio.sleep(0)
    lifetime.end("cut")
    lifetime.end("cut again")
    with pytest.raises(ConnectionLostError, match=r"^cut$"):
        await task
    assert not lifetime.waiting


@runs_async
async def test_after_the_end_no_wait_begins() -> None:
    lifetime = Lifetime()
    lifetime.end("cut")
    with pytest.raises(ConnectionLostError, match="cut"):
        await wait(lifetime)
    with pytest.raises(ConnectionLostError, match="cut"), lifetime.ends_if_lost():
        pass


@runs_async
async def test_what_has_begun_outlives_it() -> None:
    lifetime = Lifetime()
    begun, go = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        with Waiting(lifetime) as waiting:
            waiting.over()
            begun.set()
            await go.wait()
        return "done"

    task = asyncio.create_task(work())
    await begun.wait()
    lifetime.end("cut")
    go.set()
    assert await task == "done"


@runs_async
async def test_a_cancellation_of_ours_stays_one() -> None:
    task = asyncio.create_task(wait(Lifetime()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


@runs_async
async def test_a_cancellation_that_comes_with_the_end_is_not_swallowed() -> None:
    lifetime = Lifetime()
    task = asyncio.create_task(wait(lifetime))
    await asyncio.sleep(0)
    lifetime.end("cut")
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


@runs_async
async def test_who_sees_a_connection_fail_ends_it_for_the_others() -> None:
    lifetime = Lifetime()
    other = asyncio.create_task(wait(lifetime))
    await asyncio.sleep(0)
    with pytest.raises(ConnectionLostError), lifetime.ends_if_lost():
        raise ConnectionResetError
    with pytest.raises(ConnectionLostError):
        await other


@runs_async
async def test_a_bare_cancellation_by_the_library_is_a_lost_connection() -> None:
    lifetime = Lifetime()
    with pytest.raises(ConnectionLostError, match="silent"), lifetime.ends_if_lost():
        raise asyncio.CancelledError
    assert lifetime.ended.done()


def test_a_bare_exception_of_the_library_is_a_lost_connection_and_any_other_is_a_bug() -> None:
    with pytest.raises(ConnectionLostError), may_be_lost():
        raise Exception  # noqa: TRY002 - as aiormq does
    with pytest.raises(ValueError, match="ours"), may_be_lost():
        raise ValueError("ours")
