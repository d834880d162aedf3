"""What the gateway answers to each request, with a RabbitMQ that does as it is told."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from support.async_tests import runs_async
from support.fakes.asgi_caller import Request, Said, ask

from consumer.config.settings import Settings
from consumer.gateway import ids
from consumer.gateway.admission import Admission
from consumer.gateway.app import Served, application
from consumer.gateway.jobs import CATCH_UP_S, Jobs, Pending, retry_after_s
from consumer.gateway.problems import CONTENT_TYPE, KINDS, Reason
from consumer.gateway.reply_cache import Replies
from consumer.gateway.request_body import Bodies
from consumer.gateway.tokens import Tokens
from consumer.rabbitmq.admin import Depth
from consumer.telemetry.metrics import GATEWAY_NAMES, Metrics
from consumer.wire.message import Message
from consumer.wire.topology import GATEWAY_KEPT_S, Topology

SETTINGS = Settings(max_body_bytes=1000)
JSON = {"content_type": "application/json"}
REPLY = b'{"job_id":"x","status":"succeeded","output":1,"attempt":1,"run_ms":1.5}'
FAILED = b'{"job_id":"x","status":"failed","error":{},"attempt":1,"run_ms":1.5}'
TOKEN = "0123456789abcdef"  # noqa: S105 - a test's own


class Told:
    """RabbitMQ, as a relay is to jobs.

    Mutable state: `refusal`, what it says next; `queue`, the state of the jobs queue; `published`; `asked`, set by
    the first.
    """

    def __init__(self) -> None:
        self.topology = Topology("classifier", 3)
        self.replies = Replies(max_count=2, max_bytes=1000)
        self.caught_up = asyncio.Event()
        self.caught_up.set()
        self.is_connected = True
        self.refusal: Reason | None = None
        self.published: list[Message] = []
        self.asked = asyncio.Event()
        self.queue: Depth | Reason = Depth(ready=3, consumers=0)

    async def submit(self, job: Message) -> Reason | None:
        self.published.append(job)
        self.asked.set()
        return self.refusal

    async def depth(self) -> Depth | Reason:
        return self.queue


class Site:
    """All of the gateway but sockets and RabbitMQ."""

    def __init__(self, token_file: Path | None = None, *, catch_up_s: float = CATCH_UP_S) -> None:
        self.relay = Told()
        self.metrics = Metrics(names=GATEWAY_NAMES)
        self.jobs = Jobs(SETTINGS, self.relay, self.metrics, catch_up_s=catch_up_s)
        app = application(Served(self.jobs, Tokens(token_file), Bodies(SETTINGS.max_body_bytes), {}))
        self.closing = asyncio.Event()
        self.admission = Admission(app, self.metrics, self.closing.is_set)

    async def post(self, body: bytes = b"{}", **headers: str) -> Said:
        return await ask(self.admission, "POST", "/jobs", body, {**JSON, **headers})

    async def get(self, job_id: str, **headers: str) -> Said:
        return await ask(self.admission, "GET", f"/jobs/{job_id}", headers=headers)


def assert_is_problem(said: Said, reason: Reason) -> None:
    kind = KINDS[reason]
    assert (said.status, said.headers["content-type"]) == (kind.status, CONTENT_TYPE)
    assert (said.json["reason"], said.json["status"], said.json["title"]) == (
        reason,
        kind.status,
        kind.status.phrase,
    )
    assert said.json["detail"]
    assert said.headers.get("retry-after") == (str(kind.retry_after_s) if kind.retry_after_s else None)


@runs_async
async def test_a_job_is_published_for_the_stream_of_the_gateways_under_an_id_of_ours() -> None:
    site = Site()
    said = await site.post(
        b'{"signal": [1]}', timeout_s="5", traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    )
    [job] = site.relay.published
    assert (said.status, said.json) == (202, {"job_id": job.message_id, "status": "pending"})
    assert (said.headers["location"], said.headers["retry-after"]) == (f"/jobs/{job.message_id}", "1")
    assert (job.body, job.reply_to, job.correlation_id) == (
        b'{"signal": [1]}',
        "classifier.gateway",
        job.message_id,
    )
    assert job.headers == {"timeout-s": "5", "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
    assert ids.made_at(str(job.message_id)) == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize("reply", [REPLY, FAILED], ids=["succeeded", "failed"])
@runs_async
async def test_the_reply_is_the_same_by_get_and_by_a_post_that_waits_whatever_it_says(reply: bytes) -> None:
    site = Site()
    posting = asyncio.create_task(site.post(prefer="wait=50"))
    await site.relay.asked.wait()
    job_id = str(site.relay.published[0].message_id)
    site.relay.replies.keep(job_id, reply)
    posted, got = await posting, await site.get(job_id)
    assert (posted.status, posted.body, posted.headers["preference-applied"]) == (200, reply, "wait=50")
    assert (got.status, got.body) == (200, reply)
    assert "preference-applied" not in got.headers


@runs_async
async def test_what_waits_in_vain_is_pending_and_says_how_long_it_waited() -> None:
    site = Site()
    said = await site.post(prefer="respond-async, wait=0")
    assert (said.status, said.headers["preference-applied"]) == (202, "wait=0")
    again = await site.get(said.json["job_id"], prefer="wait=0")
    assert (again.status, again.json, again.headers["preference-applied"]) == (202, said.json, "wait=0")


@runs_async
async def test_who_waits_is_answered_at_once_when_the_gateway_stops() -> None:
    site = Site()
    waiting = asyncio.create_task(site.post(prefer="wait=50"))
    await site.relay.asked.wait()
    site.closing.set()
    assert_is_problem(await site.post(), Reason.STOPPING)
    assert not site.admission.empty.is_set()
    site.jobs.hurry.set_result(None)
    async with asyncio.timeout(20):  # less than it has asked for
        assert (await waiting).status == 202
    assert site.admission.empty.is_set()


@runs_async
async def test_nobody_waits_for_a_caller_who_has_hung_up() -> None:
    site = Site()
    request = Request("POST", "/jobs", [b"{}"], headers={**JSON, "prefer": "wait=50"})
    waiting = asyncio.create_task(request.through(site.admission))
    await site.relay.asked.wait()
    request.hung_up.set()
    await waiting
    assert site.admission.empty.is_set()
    assert repr(site.relay.replies) == "<Replies 0 kept, 0 bytes, 0 awaited>"


@pytest.mark.parametrize(
    ("reason", "has_id"),
    [
        (Reason.AWAY, False),
        (Reason.ALARM, False),
        (Reason.QUEUE_FULL, False),
        (Reason.NO_QUEUE, False),
        (Reason.TOO_LARGE, False),
        (Reason.MAYBE_TAKEN, True),
        (Reason.CONFIRM_LATE, True),
    ],
)
@runs_async
async def test_a_job_that_rabbitmq_may_have_is_named_and_no_other(reason: Reason, has_id: bool) -> None:
    site = Site()
    site.relay.refusal = reason
    said = await site.post(prefer="wait=50")
    assert_is_problem(said, reason)
    named = site.relay.published[0].message_id if has_id else None
    assert said.json.get("job_id") == named
    assert said.headers.get("location") == (f"/jobs/{named}" if named else None)


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"{", {}, Reason.NOT_A_JOB),
        (b"", {}, Reason.NOT_A_JOB),
        (b"[1]", {}, Reason.NOT_A_JOB),
        (b'{"a": NaN}', {}, Reason.NOT_A_JOB),
        (b'{"a": "\xff"}', {}, Reason.NOT_A_JOB),
        (b"{}", {"timeout_s": "0"}, Reason.NOT_A_JOB),
        (b"{}", {"timeout_s": "601"}, Reason.NOT_A_JOB),
        (b"{}", {"timeout_s": "soon"}, Reason.NOT_A_JOB),
        (b"{}", {"content_type": "text/plain"}, Reason.MEDIA_TYPE),
        (b"{}", {"content_type": ""}, Reason.MEDIA_TYPE),
        (b"{}", {"content_type": "application/json; charset=latin-1"}, Reason.MEDIA_TYPE),
        (b"{}", {"content_type": "application/x-www-form-urlencoded"}, Reason.MEDIA_TYPE),
        (b"{}", {"content_encoding": "gzip"}, Reason.MEDIA_TYPE),
        (b"{}", {"content_length": "1001"}, Reason.TOO_LARGE),
        (b'"' + b"x" * 999 + b'"', {}, Reason.TOO_LARGE),
    ],
)
@runs_async
async def test_what_is_no_job_is_refused_and_not_published(
    body: bytes, headers: dict[str, str], reason: Reason
) -> None:
    site = Site()
    assert_is_problem(await site.post(body, **headers), reason)
    assert site.relay.published == []


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
@runs_async
async def test_json_is_json_however_it_is_written(kind: str) -> None:
    assert (await Site().post(content_type=kind)).status == 202


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("GET", "/jobs/1", Reason.NO_JOB),
        ("GET", "/jobs/7c9e6679-7425-40de-944b-e07fc1f90ae7", Reason.NO_JOB),
        ("GET", "/jobs/" + ids.new().upper(), Reason.NO_JOB),
        ("GET", "/jobs/" + ids.made(int((time.time() + 3600) * 1000), 1), Reason.NO_JOB),
        ("GET", "/jobs/" + ids.made(int((time.time() - GATEWAY_KEPT_S - 60) * 1000), 1), Reason.REPLY_GONE),
        ("GET", "/jobs/" + ids.made(0, 1), Reason.REPLY_GONE),
        ("GET", "/nothing", Reason.NO_PAGE),
        ("GET", "/jobs/", Reason.NO_PAGE),
        ("GET", "/docs", Reason.NO_PAGE),
        ("PUT", "/jobs", Reason.METHOD),
        ("GET", "/jobs", Reason.METHOD),
        ("DELETE", "/jobs/" + ids.new(), Reason.METHOD),
    ],
    # What is made anew in each process must not be a test's name.
    ids=[
        "no uuid",
        "a random uuid",
        "in capitals",
        "of tomorrow",
        "too old",
        "much too old",
        "another page",
        "no id",
        "no docs from elsewhere",
        "PUT",
        "no list of jobs",
        "DELETE",
    ],
)
@runs_async
async def test_what_is_not_there_says_so(method: str, path: str, reason: Reason) -> None:
    said = await ask(Site().admission, method, path)
    assert_is_problem(said, reason)
    assert ("allow" in said.headers) == (reason is Reason.METHOD)


@runs_async
async def test_a_reply_that_had_to_make_room_is_gone_and_not_pending() -> None:
    site = Site()
    first, *others = [(await site.post()).json["job_id"] for _ in range(3)]
    for job_id in (first, *others):
        site.relay.replies.keep(job_id, REPLY)
    assert_is_problem(await site.get(first), Reason.REPLY_GONE)
    assert [(await site.get(job_id)).status for job_id in others] == [200, 200]


@runs_async
async def test_an_old_job_is_answered_for_as_long_as_its_reply_is_there() -> None:
    site, old = Site(), ids.made(int((time.time() - GATEWAY_KEPT_S - 60) * 1000), 1)
    site.relay.replies.keep(old, REPLY)
    assert (await site.get(old)).status == 200


@pytest.mark.parametrize(("is_connected", "reason"), [(True, Reason.READING), (False, Reason.AWAY)])
@runs_async
async def test_no_job_is_called_pending_before_the_replies_so_far_are_read(
    is_connected: bool, reason: Reason
) -> None:
    site = Site(catch_up_s=0.01)
    known, unknown = ids.new(), ids.new()
    site.relay.caught_up.clear()
    site.relay.is_connected = is_connected
    site.relay.replies.keep(known, REPLY)
    assert (await site.get(known)).status == 200
    assert_is_problem(await site.get(unknown), reason)


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"]
)
@runs_async
async def test_without_a_token_that_counts_nothing_is_told_of_jobs(given: str, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"another-one-of-them\n{TOKEN}\n")
    site, known = Site(tmp_path / "tokens"), ids.new()
    site.relay.replies.keep(known, REPLY)
    for said in (await site.post(authorization=given), await site.get(known, authorization=given)):
        assert_is_problem(said, Reason.NO_TOKEN)
        assert said.headers["www-authenticate"] == 'Bearer realm="jobs"'
        assert TOKEN not in said.body.decode()
    assert site.relay.published == []
    for scheme in ("Bearer", "bearer"):
        assert (await site.get(known, authorization=f"{scheme} {TOKEN}")).status == 200
    assert (await ask(site.admission, "GET", "/")).status == 200  # the page itself tells nothing


@runs_async
async def test_more_requests_than_can_be_held_are_turned_away() -> None:
    site = Site()
    site.admission = Admission(site.admission._app, site.metrics, bool, max_inside=1)  # noqa: SLF001
    waiting = asyncio.create_task(site.post(prefer="wait=50"))
    await site.relay.asked.wait()
    assert_is_problem(await site.post(), Reason.BUSY)
    site.jobs.hurry.set_result(None)
    await waiting
    assert (await site.post()).status == 202


@runs_async
async def test_a_bug_is_a_problem_like_others(caplog: pytest.LogCaptureFixture) -> None:
    site = Site()
    del site.relay.published  # whatever raises
    assert_is_problem(await site.post(), Reason.BUG)
    assert "this is a bug in the gateway" in caplog.text
    assert site.admission.empty.is_set()


@runs_async
async def test_each_answer_is_counted_and_none_may_be_kept_or_framed() -> None:
    site = Site()
    answers = [await site.post(), await site.post(b"["), await ask(site.admission, "GET", "/")]
    for said in answers:
        assert said.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in said.headers["content-security-policy"]
        assert "unsafe" not in said.headers["content-security-policy"]
    text = site.metrics.registry.text()
    for status, count in ((200, 1), (202, 1), (400, 1), (503, 0)):
        assert f'classifier_gateway_answers_total{{status="{status}"}} {count}\n' in text
    assert "classifier_gateway_submitted_total 1\n" in text
    assert "classifier_gateway_request_seconds_count 3\n" in text
    assert "classifier_jobs_received_total" not in text


@pytest.mark.parametrize(("age_s", "expected"), [(0, 1), (1, 1), (10, 5), (59, 30), (86_000, 30)])
def test_who_asks_early_is_told_to_come_again_soon(age_s: float, expected: int) -> None:
    assert retry_after_s(age_s) == expected


def test_pending_is_what_the_contract_says() -> None:
    assert json.loads(Pending(job_id="1").model_dump_json()) == {"job_id": "1", "status": "pending"}


KNOWN = "/jobs/01a217b9-b45d-79d4-ab6b-a6d2dba19830"  # made once: test names must not differ by process


@pytest.mark.parametrize("path", ["/", "/page.js", "/signals.js", "/page.css", "/queue", "/openapi.json", KNOWN])
@runs_async
async def test_a_head_request_gets_the_status_and_headers_of_a_get(path: str) -> None:
    site = Site()
    got, headed = await ask(site.admission, "GET", path), await ask(site.admission, "HEAD", path)
    assert headed.status == got.status != 405
    assert headed.headers == got.headers
    assert headed.headers["content-length"] == str(len(got.body))


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("OPTIONS", "/", "GET, HEAD"),
        ("DELETE", "/jobs/x", "GET, HEAD"),
        ("HEAD", "/jobs", "POST"),
        ("GET", "/jobs", "POST"),
    ],
)
@runs_async
async def test_a_method_that_a_page_does_not_take_is_refused_with_those_that_it_takes(
    method: str, path: str, allowed: str
) -> None:
    said = await ask(Site().admission, method, path)
    assert_is_problem(said, Reason.METHOD)
    assert sorted(said.headers["allow"].split(", ")) == sorted(allowed.split(", "))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Depth(ready=3, consumers=0), {"waiting": 3, "consumers": 0}),
        (Depth(), {}),
    ],
)
@runs_async
async def test_how_many_jobs_wait_and_who_takes_them_is_told_without_a_token(
    found: Depth, said: object, tmp_path: Path
) -> None:
    (tmp_path / "tokens").write_text(TOKEN)
    site = Site(tmp_path / "tokens")
    site.relay.queue = found
    answered = await ask(site.admission, "GET", "/queue")
    assert (answered.status, answered.json) == (200, said)


@pytest.mark.parametrize("reason", [Reason.AWAY, Reason.NO_QUEUE])
@runs_async
async def test_a_queue_that_cannot_be_asked_is_a_problem(reason: Reason) -> None:
    site = Site()
    site.relay.queue = reason
    assert_is_problem(await ask(site.admission, "GET", "/queue"), reason)
