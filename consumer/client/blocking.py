"""The client for code without asyncio: it runs a `Client` in a thread with an event loop.

client.py makes all decisions. Several threads may call the client at once. Its own thread reads the iterable given
to `as_completed`, so the iterable should not block for long.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from consumer.client.arguments import check_urls
from consumer.client.client import QUEUE, Client
from consumer.client.exceptions import ClosedClientError, WrongLoopError
from consumer.client.ownership import Owner, running_loop
from consumer.client.request_client import CLOSED, OUTAGE_S, TIMEOUT_S, WINDOW
from consumer.client.types import Done, Job, OnProgress, Result, Signal
from consumer.config.credentials import Credentials
from consumer.rabbitmq.connection import CLOSE_TIMEOUT_S, NO_FILES

T = TypeVar("T")


class BlockingClient:
    """Publishes jobs to one queue and returns the result of each, without asyncio.

        with BlockingClient.open("amqp://localhost") as client:
            result = client.classify([0.1, 0.5, -0.2])

    Has the methods of `Client`, which it calls in another thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, client: Client) -> None:
        self._loop = loop
        self._client = client
        self._owner = Owner()

    @classmethod
    @contextmanager
    def open(  # noqa: PLR0913 - as Client.open
        cls,
        url: str,
        *,
        queue: str = QUEUE,
        direct: bool = False,
        credentials: Credentials = NO_FILES,
        window: int = WINDOW,
        outage_s: float = OUTAGE_S,
    ) -> Iterator[BlockingClient]:
        """Connect and start to receive replies; arguments and errors as in `Client.open`."""
        check_urls(url)
        owner = Owner()
        with _loop_in_a_thread(owner) as loop:
            opening = Client.open(
                url,
                queue=queue,
                direct=direct,
                credentials=credentials,
                window=window,
                outage_s=outage_s,
            )
            client = _wait_for(opening.__aenter__(), loop)
            try:
                yield cls(loop, client)
            finally:
                if _can_wait(owner):
                    _wait_for(opening.__aexit__(None, None, None), loop)

    def classify(  # noqa: PLR0913 - as Client.classify
        self,
        signal: Signal,
        *,
        model: str | None = None,
        job_id: str | None = None,
        timeout_s: float | None = TIMEOUT_S,
        run_timeout_s: float | None = None,
        on_progress: OnProgress = None,
    ) -> Result:
        """See `Client.classify`. `on_progress` is called in the client's thread."""
        return self._wait(
            lambda: self._client.classify(
                signal,
                model=model,
                job_id=job_id,
                timeout_s=timeout_s,
                run_timeout_s=run_timeout_s,
                on_progress=on_progress,
            )
        )

    def run(
        self,
        job: Mapping[str, Any],
        *,
        job_id: str | None = None,
        timeout_s: float | None = TIMEOUT_S,
        run_timeout_s: float | None = None,
        on_progress: OnProgress = None,
    ) -> Result:
        """See `Client.run`. `on_progress` is called in the client's thread."""
        return self._wait(
            lambda: self._client.run(
                job, job_id=job_id, timeout_s=timeout_s, run_timeout_s=run_timeout_s, on_progress=on_progress
            )
        )

    def publish(  # noqa: PLR0913 - as Client.publish
        self,
        job: Job,
        *,
        model: str | None = None,
        job_id: str | None = None,
        reply_to: str | None = None,
        timeout_s: float | None = TIMEOUT_S,
        run_timeout_s: float | None = None,
    ) -> str:
        """See `Client.publish`."""
        return self._wait(
            lambda: self._client.publish(
                job,
                model=model,
                job_id=job_id,
                reply_to=reply_to,
                timeout_s=timeout_s,
                run_timeout_s=run_timeout_s,
            )
        )

    def as_completed(
        self, jobs: Iterable[Job], *, model: str | None = None, timeout_s: float | None = TIMEOUT_S
    ) -> Iterator[Done]:
        """See `Client.as_completed`."""
        self._check_usable()
        coming = self._client.as_completed(jobs, model=model, timeout_s=timeout_s)
        try:
            while (done := self._wait(lambda: _next(coming))) is not None:
                yield done
        finally:
            if _can_wait(self._owner) and not self._loop.is_closed():
                self._wait(coming.aclose)

    def _wait(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run the call in the client's thread and wait; raise, without calling it, if the client is unusable."""
        self._check_usable()
        return _wait_for(call(), self._loop)

    def _check_usable(self) -> None:
        """Raise if the client's thread cannot answer: in a fork, after the close, or in that thread itself.

        Raises:
            ForkedClientError, ClosedClientError, WrongLoopError
        """
        self._owner.check()
        if self._loop.is_closed() or not self._loop.is_running():
            raise ClosedClientError(CLOSED)
        if running_loop() is self._loop:
            raise WrongLoopError(
                "the client's own thread would wait for itself; from on_progress, or from the iterable given to "
                "as_completed, call another client or another thread"
            )


def _can_wait(owner: Owner) -> bool:
    """Return whether the client's thread runs. A fork has no such thread, and shares the loop's epoll set.

    When Python exits, it stops the thread. A client whose `with` block was not left before is closed only then.
    """
    return owner.is_here and not sys.is_finalizing()


async def _next(coming: AsyncGenerator[Done, None]) -> Done | None:
    return await anext(coming, None)


@contextmanager
def _loop_in_a_thread(owner: Owner) -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="classifier client", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        if _can_wait(owner):
            _wait_for(_end_calls(), loop)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _end_calls() -> None:
    """End the calls of other threads with the error of a closed client. Otherwise they would wait for ever."""
    calls = asyncio.all_tasks() - {asyncio.current_task()}
    if calls:
        _, stuck = await asyncio.wait(calls, timeout=CLOSE_TIMEOUT_S)
        for call in stuck:
            call.cancel()
        if stuck:
            await asyncio.wait(stuck)


def _wait_for(call: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    """Wait for a call in the client's thread. Ctrl-C cancels the call there, too."""
    running = asyncio.run_coroutine_threadsafe(call, loop)
    try:
        return running.result()
    except BaseException:
        running.cancel()
        raise
