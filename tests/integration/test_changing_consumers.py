"""The two consumers of a session, with a real RabbitMQ, while something else happens: a stop, or a refusal."""

from __future__ import annotations

import asyncio

import pytest
from support.async_tests import runs_async
from support.rabbitmq.producer import Producer
from support.soak import often

from consumer.errors import BrokerRefusedError
from consumer.rabbitmq.session import Session
from consumer.service.fetching import Consumers

QUEUE = "jobs"
#: Acks in a row, and how often: RabbitMQ holds back those beyond 32, and would forget them with the channel.
BURST = 100
BURSTS = often(5, in_soak=50)


@pytest.fixture
def queue(producer: Producer) -> str:
    producer.channel.queue_declare(QUEUE, durable=True)
    return QUEUE


def test_a_stop_in_the_middle_of_a_change_loses_no_delivery(
    vhost_url: str, producer: Producer, queue: str
) -> None:
    """aiormq closes the channel of a call that is cancelled, and with it go all its deliveries."""

    @runs_async
    async def stopped_after(turns: int) -> None:
        async with Session.open(vhost_url, name="test") as session:
            consumers = Consumers.of(session, queue, "mine", {})
            await consumers.normal.resize(1)
            await consumers.ahead.resize(1)
            delivery = await session.inbox.get()
            change = asyncio.create_task(consumers.ahead.resize(2))
            for _ in range(turns):
                await asyncio.sleep(0)
            change.cancel()
            await session.stop_consuming()
            await asyncio.wait({change})
            await delivery.ack()
            await session.flush()
            producer.publish(queue, b"not for this session")
            await session.flush()
            assert session.inbox.empty()

    for turns in range(40):
        producer.publish(queue, b"{}")
        stopped_after(turns)
        assert producer.take(queue).body == b"not for this session"


@runs_async
async def refused(vhost_url: str, producer: Producer, queue: str) -> None:
    async with Session.open(vhost_url, name="test") as session:
        consumers = Consumers.of(session, queue, "mine", {})
        await consumers.normal.resize(1)
        await consumers.normal.resize(0)
        producer.channel.queue_delete(queue)
        with pytest.raises(BrokerRefusedError, match="no queue"):
            await consumers.normal.resize(1)
        assert "no queue" in await session.lost()


def test_a_queue_that_was_deleted_during_a_change_ends_the_session(
    vhost_url: str, producer: Producer, queue: str
) -> None:
    """So the supervisor reconnects, as it does if the queue is deleted at any other moment."""
    refused(vhost_url, producer, queue)


@pytest.mark.soak
def test_jobs_that_are_acked_together_just_before_the_end_are_not_delivered_again(
    vhost_url: str, producer: Producer
) -> None:
    producer.channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})

    @runs_async
    async def all_acked() -> None:
        async with Session.open(vhost_url, name="test") as session:
            await session.consume(QUEUE, prefetch=BURST, tag="mine")
            deliveries = [await session.inbox.get() for _ in range(BURST)]
            await session.stop_consuming()
            for delivery in deliveries:
                await delivery.ack()
            await session.flush()

    for _ in range(BURSTS):
        for number in range(BURST):
            producer.publish(QUEUE, b"%d" % number)
        all_acked()
        producer.publish(QUEUE, b"the next one")
        assert producer.take(QUEUE).body == b"the next one"
