"""A connection that was never opened leaves nothing behind, whichever thread collects it."""

from __future__ import annotations

import asyncio
import gc
import warnings

from support.async_tests import runs_async
from yarl import URL

from consumer.rabbitmq.fork_guard import ForkSafeConnection


@runs_async
async def test_a_failed_attempt_that_another_thread_collects_causes_no_warning() -> None:
    attempts = [ForkSafeConnection(URL("amqp://localhost"))]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await asyncio.to_thread(attempts.clear)
        gc.collect()
    assert [str(one.message) for one in caught] == []
