"""The pool: a fixed number of slots, each with one holder at most."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from fakes import runs_async

from consumer.runners.pool import Pool


@runs_async
async def test_the_pool_tells_its_size_and_what_is_held() -> None:
    pool = Pool(["a", "b", "c"])
    assert (pool.size, pool.busy, repr(pool)) == (3, 0, "<Pool 0 busy, 3 free>")
    async with pool.slot(), pool.slot():
        assert (pool.size, pool.busy, repr(pool)) == (3, 2, "<Pool 2 busy, 1 free>")
    assert (pool.busy, repr(pool)) == (0, "<Pool 0 busy, 3 free>")


@runs_async
async def test_no_two_hold_one_slot() -> None:
    pool = Pool(["a", "b", "c"])
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(pool.slot()) for _ in range(3)]
        assert sorted(held) == ["a", "b", "c"]


@runs_async
async def test_the_slot_that_was_free_for_longest_is_handed_out() -> None:
    pool = Pool(["a", "b"])
    async with pool.slot() as first:
        pass
    async with pool.slot() as second:
        pass
    assert (first, second) == ("a", "b")


@runs_async
async def test_a_slot_goes_back_after_an_exception() -> None:
    pool = Pool(["a"])
    with pytest.raises(ZeroDivisionError):
        async with pool.slot():
            raise ZeroDivisionError
    assert pool.busy == 0
    async with pool.slot() as again:
        assert again == "a"


@runs_async
async def test_who_finds_no_free_slot_gets_the_next_one() -> None:
    pool = Pool(["a"])
    order = []

    async def take(name: str) -> None:
        async with pool.slot():
            order.append(name)

    async with pool.slot():
        tasks = [asyncio.create_task(take(name)) for name in ("first", "second")]
        await asyncio.sleep(0)
        assert order == []
    await asyncio.gather(*tasks)
    assert order == ["first", "second"]


@runs_async
async def test_who_is_cancelled_while_waiting_takes_no_slot() -> None:
    pool = Pool(["a"])
    async with pool.slot():
        waiting = asyncio.create_task(pool.slot().__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert (pool.busy, waiting.cancelled()) == (0, True)


@runs_async
async def test_a_holder_that_is_cancelled_gives_its_slot_back() -> None:
    pool = Pool(["a"])
    holding = asyncio.Event()

    async def hold() -> None:
        async with pool.slot():
            holding.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await holding.wait()
    holder.cancel()
    await asyncio.wait([holder])
    assert pool.busy == 0


def test_each_slot_has_its_number() -> None:
    slots = [object(), object()]
    pool = Pool(slots)
    assert [pool.number(slot) for slot in slots] == [0, 1]
