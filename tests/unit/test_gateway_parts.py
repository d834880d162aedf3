"""The gateway's small parts: ids, wishes to wait, replies in memory, tokens, bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request as HttpRequest
from support.async_tests import never, runs_async
from support.fakes.asgi_caller import Request
from support.unprivileged import unprivileged_folder

from consumer.errors import ConfigurationError
from consumer.gateway import ids
from consumer.gateway.jobs import MAX_WAIT_S, wish_to_wait_s
from consumer.gateway.problems import Reason
from consumer.gateway.reply_cache import Replies
from consumer.gateway.request_body import Bodies
from consumer.gateway.tokens import Tokens

JSON = {"content-type": "application/json"}


@given(milliseconds=st.integers(0, 2**48 - 1), chance=st.integers(0, 2**128 - 1))
def test_an_id_is_a_uuid_of_version_7_and_tells_its_time(milliseconds: int, chance: int) -> None:
    made = ids.made(milliseconds, chance)
    assert (UUID(made).version, UUID(made).variant) == (7, "specified in RFC 4122")
    assert ids.made_at(made) == milliseconds / 1000


def test_ids_differ_and_go_on_in_time() -> None:
    made = [ids.new() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert [found[:13] for found in made] == sorted(found[:13] for found in made)


@given(text=st.text(max_size=60))
def test_no_text_is_an_id_by_accident(text: str) -> None:
    assert ids.made_at(text) is None


@pytest.mark.parametrize(
    "alter", [str.upper, "{{{}}}".format, lambda made: made.replace("-", ""), "urn:uuid:{}".format]
)
def test_one_job_has_one_id_however_uuids_may_be_written(alter: object) -> None:
    assert callable(alter)
    assert ids.made_at(alter("01a20db8-711e-7062-b899-361e2c849413")) is None


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [
        ([], None),
        (["wait=10"], 10),
        (["respond-async, wait=10"], 10),
        (["respond-async", "wait=10"], 10),
        (["Wait = 10"], 10),
        (['wait="10"'], 10),
        (["wait=10; foo=bar"], 10),
        (["wait=3, wait=10"], 3),
        (["wait=0"], 0),
        (["wait=100000"], MAX_WAIT_S),
        (["wait=" + "9" * 5000], None),
        (["wait"], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=soon"], None),
        (["waiting=5"], None),
        ([",,=,;"], None),
    ],
)
def test_the_wish_to_wait_is_read_as_rfc_7240_has_it(prefer: list[str], expected: int | None) -> None:
    assert wish_to_wait_s(prefer) == expected


@given(st.lists(st.text(max_size=50)))
def test_no_preference_breaks_anything(prefer: list[str]) -> None:
    assert wish_to_wait_s(prefer) in (None, *range(MAX_WAIT_S + 1))


@given(sizes=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=60))
def test_replies_are_bounded_and_the_newest_stay(sizes: list[tuple[int, int]]) -> None:
    replies = Replies(max_count=4, max_bytes=100, max_dropped=1000)
    order: list[str] = []
    for job, size in sizes:
        replies.keep(str(job), b"x" * size)
        order = [known for known in order if known != str(job)] + [str(job)]
    kept = [job for job in order if replies.find(job) is not None]
    assert kept == order[len(order) - len(kept) :]
    assert len(kept) == len(replies) <= 4
    assert sum(len(replies.find(job) or b"") for job in kept) <= 100
    assert all(replies.was_dropped(job) for job in order if job not in kept)
    assert not any(replies.was_dropped(job) for job in kept)


def test_ids_of_what_was_dropped_are_bounded_too() -> None:
    replies = Replies(max_count=1, max_bytes=100, max_dropped=2)
    for job in "abcd":
        replies.keep(job, b"1")
    assert [replies.was_dropped(job) for job in "abcd"] == [False, True, True, False]


def test_a_later_reply_to_a_job_takes_the_place_of_the_first() -> None:
    replies = Replies(max_count=2, max_bytes=100)
    for job, body in (("a", b"first"), ("b", b"1"), ("a", b"second"), ("c", b"1")):
        replies.keep(job, body)
    assert (replies.find("a"), replies.find("b")) == (b"second", None)


@runs_async
async def test_all_who_wait_for_a_job_are_told_and_nobody_is_left() -> None:
    replies = Replies()
    waiting = [asyncio.create_task(replies.wait(job, 50)) for job in ("a", "a", "b")]
    await asyncio.sleep(0)
    replies.keep("a", b"1")
    assert await asyncio.gather(*waiting[:2]) == [b"1", b"1"]
    replies.keep("b", b"2")
    assert await waiting[2] == b"2"
    assert await replies.wait("a", 50) == b"1"
    assert repr(replies).endswith("0 awaited>")


@runs_async
async def test_who_waits_ends_with_the_time_or_with_what_else_ends_it() -> None:
    replies, end = Replies(), never()
    assert await replies.wait("a", 0) is None
    assert await replies.wait("a", 0.001, end) is None
    waiting = asyncio.create_task(replies.wait("a", 50, end))
    await asyncio.sleep(0)
    end.set_result(None)
    assert await waiting is None
    cancelled = asyncio.create_task(replies.wait("a", 50))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait({cancelled})
    assert repr(replies).endswith("0 awaited>")


FIRST, SECOND = "first-token-0123456789", "second+token/0123456789=="


def test_tokens_are_read_anew_when_the_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"{FIRST}\n\n")
    tokens = Tokens(path)
    assert (tokens.allow(f"Bearer {FIRST}"), tokens.allow(f"Bearer {SECOND}")) == (True, False)
    path.write_text(f"{FIRST}\n{SECOND}\n")
    assert (tokens.allow(f"Bearer {FIRST}"), tokens.allow(f"Bearer {SECOND}")) == (True, True)
    path.write_text(f"{SECOND}\n")
    assert (tokens.allow(f"Bearer {FIRST}"), tokens.allow(f"Bearer {SECOND}")) == (False, True)


def test_a_file_that_cannot_be_used_any_more_leaves_the_tokens_of_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tokens"
    path.write_text(FIRST)
    tokens = Tokens(path)
    path.write_text("short\n")
    assert (tokens.allow(f"Bearer {FIRST}"), tokens.allow("Bearer short")) == (True, False)
    path.unlink()
    assert tokens.allow(f"Bearer {FIRST}")
    assert "the old tokens stay valid" in caplog.text
    assert "short" not in caplog.text


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "bearer ", "Bearer  ", "\xff", "Bearer \xff", FIRST, f"Basic {FIRST}"]
)
def test_what_is_no_bearer_token_is_none(tmp_path: Path, given: str | None) -> None:
    path = tmp_path / "tokens"
    path.write_text(FIRST)
    assert not Tokens(path).allow(given)
    assert Tokens(None).allow(given)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "too-short\n", f"{FIRST}\nwith a blank inside it\n", f"{FIRST}\nzwölf-zeichen-und-mehr\n"]
)
def test_a_file_of_no_tokens_stops_the_start_and_is_not_quoted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        Tokens(path)
    assert "gateway_token_file" in str(caught.value)
    assert FIRST not in str(caught.value)


def test_a_file_that_may_not_be_read_stops_the_start() -> None:
    with unprivileged_folder() as folder:
        path = folder / "tokens"
        path.write_text(FIRST)
        path.chmod(0)
        with pytest.raises(ConfigurationError, match="cannot be read: Permission denied"):
            Tokens(path)
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        Tokens(Path("/nowhere/tokens"))


async def read(parts: Sequence[bytes], bodies: Bodies, *, is_whole: bool = True) -> bytes | Reason:
    asked = Request("POST", "/jobs", parts, headers=JSON, is_whole=is_whole)
    async with bodies.reading(HttpRequest(asked.scope, asked.receive)) as found:
        return found


@runs_async
async def test_a_body_comes_in_parts_and_is_held_no_longer_than_needed() -> None:
    bodies = Bodies(10)
    assert await read([b"{", b'"a"', b":1}"], bodies) == b'{"a":1}'
    assert await read([b"12345", b"67890", b"1"], bodies) is Reason.TOO_LARGE
    assert bodies.held == 0


@pytest.mark.parametrize(
    ("parts", "reason"), [([b"12345"], Reason.SLOW_BODY), ([b"12345", b"67890", b"1"], Reason.TOO_LARGE)]
)
@runs_async
async def test_a_body_that_never_ends_is_let_go_in_time_also_when_it_is_refused(
    parts: list[bytes], reason: Reason
) -> None:
    bodies = Bodies(10, within_s=0.001)
    assert await read(parts, bodies, is_whole=False) is reason
    assert bodies.held == 0


@runs_async
async def test_a_caller_who_goes_in_the_middle_of_a_body_is_let_go() -> None:
    bodies, asked = Bodies(10), Request("POST", "/jobs", [b"12345"], headers=JSON, is_whole=False)
    asked.hung_up.set()
    async with bodies.reading(HttpRequest(asked.scope, asked.receive)) as found:
        assert found is Reason.SLOW_BODY
    assert bodies.held == 0


@runs_async
async def test_all_bodies_together_are_bounded_but_one_has_always_room() -> None:
    bodies, first = Bodies(10, max_held_bytes=8), Request("POST", "/jobs", [b"123456"], headers=JSON)
    async with bodies.reading(HttpRequest(first.scope, first.receive)) as found:
        assert found == b"123456"
        assert await read([b"123"], bodies) is Reason.BUSY
        assert await read([b"12"], bodies) == b"12"
        assert bodies.held == 6
    assert await read([b"1234567890"], bodies) == b"1234567890"
    assert bodies.held == 0
