"""Which address is to blame when RabbitMQ closes the connection, or the channel, over one of several."""

from __future__ import annotations

import asyncio

import pytest
from aiormq.exceptions import ChannelClosed, ConnectionInternalError
from support.async_tests import runs_async

from consumer.rabbitmq import address_breaker
from consumer.rabbitmq.address_breaker import Unreachable
from consumer.rabbitmq.connection_scope import Lifetime

A, B, C = (f"amq.rabbitmq.reply-to.{name}" for name in "abc")
FAULT = ConnectionInternalError(541, "INTERNAL_ERROR")


async def fails(known: Unreachable, address: str, fault: Exception = FAULT) -> None:
    with pytest.raises(type(fault)):
        async with known.recorded(address, Lifetime()):
            raise fault


@runs_async
async def test_once_is_a_suspicion_and_twice_is_known() -> None:
    known = Unreachable()
    await fails(known, A)
    assert A not in known
    await fails(known, A)
    assert A in known


@runs_async
async def test_who_is_reached_is_no_suspect_any_more() -> None:
    known = Unreachable()
    await fails(known, A)
    async with known.recorded(A, Lifetime()):
        pass
    await fails(known, A)
    assert A not in known


@runs_async
async def test_another_fault_says_nothing_about_the_address() -> None:
    known = Unreachable()
    for _ in range(3):
        await fails(known, A, ConnectionResetError())
    assert A not in known


@runs_async
async def test_who_is_only_told_of_the_end_is_suspect_as_well() -> None:
    known, lifetime = Unreachable(), Lifetime()
    lifetime.end("the connection that publishes was closed: INTERNAL_ERROR")
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError):
            async with known.recorded(A, lifetime):
                raise asyncio.CancelledError
    assert A in known


@runs_async
async def test_suspects_go_one_by_one_and_others_do_not_wait() -> None:
    known = Unreachable()
    await fails(known, A)
    await fails(known, B)
    async with known.recorded(A, Lifetime()):
        other = asyncio.create_task(fails(known, B))
        async with known.recorded(C, Lifetime()):
            await asyncio.sleep(0)
            assert not other.done()
    await other
    assert B in known


@runs_async
async def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_breaker, "CAPACITY", 2)
    known = Unreachable()
    for address in (A, B, C):
        await fails(known, address)
        await fails(known, address)
    assert [address in known for address in (A, B, C)] == [False, True, True]


STREAM_FAULT = ChannelClosed(506, "RESOURCE_ERROR - Stream not found")


@runs_async
async def test_a_stream_without_its_nodes_is_known_and_the_queue_that_was_in_flight_with_it_is_not() -> None:
    known, lifetime = Unreachable(), Lifetime()
    await fails(known, "errors", STREAM_FAULT)
    lifetime.end(str(STREAM_FAULT))
    with pytest.raises(asyncio.CancelledError):
        async with known.recorded("results", lifetime):
            raise asyncio.CancelledError
    async with known.recorded("results", Lifetime()):
        pass
    await fails(known, "errors", STREAM_FAULT)
    assert "errors" in known
    assert "results" not in known


@runs_async
async def test_an_internal_error_says_nothing_about_a_queue() -> None:
    known = Unreachable()
    for _ in range(3):
        await fails(known, "results")
    assert "results" not in known


@runs_async
async def test_what_is_known_is_tried_again_after_a_while() -> None:
    known = Unreachable(known_s=0)
    for _ in range(3):
        await fails(known, A)
    assert A not in known
