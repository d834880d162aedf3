"""Which direct reply-to address is to blame when RabbitMQ closes the connection over one of several."""

from __future__ import annotations

import asyncio

import pytest
from aiormq.exceptions import ConnectionInternalError
from fakes import runs_async

from consumer import unreachable
from consumer.lifetime import Lifetime
from consumer.unreachable import Unreachable

FAULT = ConnectionInternalError(541, "INTERNAL_ERROR")


async def fails(known: Unreachable, address: str, fault: Exception = FAULT) -> None:
    with pytest.raises(type(fault)):
        async with known.noted(address, Lifetime()):
            raise fault


@runs_async
async def test_once_is_a_suspicion_and_twice_is_known() -> None:
    known = Unreachable()
    await fails(known, "a")
    assert "a" not in known
    await fails(known, "a")
    assert "a" in known


@runs_async
async def test_who_is_reached_is_no_suspect_any_more() -> None:
    known = Unreachable()
    await fails(known, "a")
    async with known.noted("a", Lifetime()):
        pass
    await fails(known, "a")
    assert "a" not in known


@runs_async
async def test_another_fault_says_nothing_about_the_address() -> None:
    known = Unreachable()
    for _ in range(3):
        await fails(known, "a", ConnectionResetError())
    assert "a" not in known


@runs_async
async def test_who_is_only_told_of_the_end_is_suspect_as_well() -> None:
    known, lifetime = Unreachable(), Lifetime()
    lifetime.end("the connection that publishes was closed: INTERNAL_ERROR")
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError):
            async with known.noted("a", lifetime):
                raise asyncio.CancelledError
    assert "a" in known


@runs_async
async def test_suspects_go_one_by_one_and_others_do_not_wait() -> None:
    known = Unreachable()
    await fails(known, "a")
    await fails(known, "b")
    async with known.noted("a", Lifetime()):
        other = asyncio.create_task(fails(known, "b"))
        async with known.noted("c", Lifetime()):
            await asyncio.sleep(0)
            assert not other.done()
    await other
    assert "b" in known


@runs_async
async def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unreachable, "CAPACITY", 2)
    known = Unreachable()
    for address in ("a", "b", "c"):
        await fails(known, address)
        await fails(known, address)
    assert [address in known for address in ("a", "b", "c")] == [False, True, True]
