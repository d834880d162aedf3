"""The asyncio client for Python producers: publishes jobs and returns the result of each, also through outages.

The client uses plain AMQP as any producer would: the job is the body, and `correlation_id` finds the reply. It
turns jobs into requests, and replies into results and exceptions; request_client.py publishes the requests and
receives the replies.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

from consumer.client.arguments import check_job_id, check_jobs, check_reply_to, check_urls, seconds
from consumer.client.bounded import windowed
from consumer.client.exceptions import (
    JobFailedError,
    JobTooLargeError,
    UnreadableReplyError,
    UnsendableJobError,
    failure,
)
from consumer.client.request_client import OUTAGE_S, TIMEOUT_S, WINDOW, RequestClient
from consumer.client.rpc_channel import Address
from consumer.client.types import Done, Job, OnProgress, Result, Signal, as_body, as_job
from consumer.config.credentials import Credentials
from consumer.rabbitmq.connection import NO_FILES
from consumer.wire.message import TIMEOUT_HEADER

QUEUE = "classifier.jobs"


class Client(RequestClient):
    """Publishes jobs to one queue and returns the result of each to its caller.

        async with Client.open("amqp://localhost") as client:
            result = await client.classify([0.1, 0.5, -0.2])  # a signal, for the classifier that comes with it
            result = await client.run({"any": "job"})
            job_id = await client.publish({"any": "job"})  # does not wait for the result

    `as_completed` runs many jobs. A job that fails raises a `JobFailedError`. A call that has no reply after
    `timeout_s`, by default 300 s, raises a `NoReplyError`, which is a `TimeoutError`. The client reconnects after
    outages. `BlockingClient` is the same without asyncio.
    """

    @classmethod
    @asynccontextmanager
    async def open(  # noqa: PLR0913 - all by name, with defaults; each is one thing the caller decides
        cls,
        url: str,
        *,
        queue: str = QUEUE,
        direct: bool = False,
        credentials: Credentials = NO_FILES,
        window: int = WINDOW,
        outage_s: float = OUTAGE_S,
    ) -> AsyncIterator[Client]:
        """Connect and start to receive replies; reconnect after every outage.

        Args:
            url: an AMQP URL, or several of one cluster separated by spaces.
            queue: the jobs queue, `<prefix>.jobs`; by default `classifier.jobs`.
            direct: whether to use RabbitMQ's direct reply-to instead of a reply queue. After an outage, every job
                without a reply then runs once more.
            credentials: files for TLS and the login; by default none.
            window: how many jobs may be in flight, by default 64; further calls wait.
            outage_s: how long RabbitMQ may be unavailable before waiting calls raise, in seconds, by default 300.

        Raises:
            BrokerUnreachableError: no RabbitMQ answers.
            BrokerRefusedError: RabbitMQ refuses the login, the virtual host or a permission.
            ConnectionLostError: the connection was lost while it was opened.
            ConfigurationError: also for an invalid URL; the message names the fault.
            ArgumentError: another argument cannot be used.
        """
        check_urls(url)
        client = cls(queue, window=window, outage_s=outage_s)
        async with client.connected(url, Address(is_direct=direct), credentials):
            yield client

    async def classify(  # noqa: PLR0913 - as `run`
        self,
        signal: Signal,
        *,
        model: str | None = None,
        job_id: str | None = None,
        timeout_s: float | None = TIMEOUT_S,
        run_timeout_s: float | None = None,
        on_progress: OnProgress = None,
    ) -> Result:
        """Classify a signal with the classifier that comes with the service; errors as in `run`.

        Args:
            signal: the samples of the signal.
            model: the model's name; None if there is only one.
            job_id: as in `run`.
            timeout_s: as in `run`.
            run_timeout_s: as in `run`.
            on_progress: as in `run`.
        """
        return await self.run(
            as_job(signal, model),
            job_id=job_id,
            timeout_s=timeout_s,
            run_timeout_s=run_timeout_s,
            on_progress=on_progress,
        )

    async def run(
        self,
        job: Mapping[str, Any],
        *,
        job_id: str | None = None,
        timeout_s: float | None = TIMEOUT_S,
        run_timeout_s: float | None = None,
        on_progress: OnProgress = None,
    ) -> Result:
        """Run any job. A cancelled caller drops its reply, but does not cancel the job.

        Args:
            job: the JSON object for the classifier.
            job_id: the job's id in the reply, the log and the dead letters; by default a random one.
            timeout_s: how long to wait for the reply, in seconds, None for ever; waiting for the window does not
                count.
            run_timeout_s: how long the job may run (header `timeout-s`).
            on_progress: called with the job's progress, if the classifier reports it.

        Raises:
            JobFailedError: the reply has an error code; each code has a subclass (exceptions.py).
            NoReplyError: no reply in time; the job may still be waiting or running.
            UnsendableJobError: JSON cannot express the job; the message names the place.
            ArgumentError, ClientUseError, ConfigurationError, ConnectionLostError, UnreadableReplyError: as
                `request`.
        """
        headers = _headers(run_timeout_s)
        body = as_body(job)
        reply = await self.request(
            body, headers=headers, job_id=job_id, timeout_s=timeout_s, on_progress=on_progress
        )
        if reply.status == "failed":
            raise failure(reply)
        return Result(reply.job_id, reply.output, reply.attempt, reply.run_ms, reply.consumer)

    async def publish(  # noqa: PLR0913 - all by name, with defaults; each is one property of the job
        self,
        job: Job,
        *,
        model: str | None = None,
        job_id: str | None = None,
        reply_to: str | None = None,
        timeout_s: float | None = TIMEOUT_S,
        run_timeout_s: float | None = None,
    ) -> str:
        """Publish a job or a signal without waiting for its reply; return the job's id.

        Args:
            job: the JSON object for the classifier, or a signal.
            model: the model for a signal.
            job_id: as in `run`.
            reply_to: the queue for the reply; by default `<prefix>.results`.
            timeout_s: how long to wait for RabbitMQ's confirm, in seconds; the queue may be full.
            run_timeout_s: how long the job may run.

        Raises:
            NoReplyError: RabbitMQ has not confirmed the job in time.
            UnsendableJobError, ArgumentError, ClientUseError, ConfigurationError, ConnectionLostError: as `run`.
        """
        self.check_usable()
        check_job_id(job_id)
        check_reply_to(reply_to)
        body, timeout_s = as_body(as_job(job, model)), seconds("timeout_s", timeout_s)
        return await self.post(
            body, _headers(run_timeout_s), job_id=job_id, reply_to=reply_to, timeout_s=timeout_s
        )

    async def as_completed(
        self, jobs: Iterable[Job], *, model: str | None = None, timeout_s: float | None = TIMEOUT_S
    ) -> AsyncGenerator[Done, None]:
        """Run many jobs or signals; yield each as it ends, in any order.

        The client takes a job from `jobs` only when it can send it. A caller that stops early drops the replies of
        the jobs in flight.

        Raises:
            ArgumentError, ClientUseError, ConfigurationError, ConnectionLostError: as `request`. The error of a
                single job is in its `Done`.
        """
        self.check_usable()
        seconds("timeout_s", timeout_s)
        check_jobs(jobs, model)
        ask = partial(self._done, model=model, timeout_s=timeout_s)
        async with aclosing(windowed(ask, enumerate(jobs), self.window)) as coming:
            async for done in coming:
                yield done

    async def _done(self, numbered: tuple[int, Job], *, model: str | None, timeout_s: float | None) -> Done:
        index, job = numbered
        try:
            return Done(index, job, None, await self.run(as_job(job, model), timeout_s=timeout_s))
        except (JobFailedError, JobTooLargeError, TimeoutError, UnreadableReplyError, UnsendableJobError) as error:
            return Done(index, job, error)


def _headers(run_timeout_s: float | None) -> dict[str, Any]:
    run_s = seconds("run_timeout_s", run_timeout_s, may_be_endless=False)
    return {} if run_s is None else {TIMEOUT_HEADER: run_s}
