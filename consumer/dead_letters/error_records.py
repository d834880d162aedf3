"""Reads the error records: which jobs failed, and why. Reading removes nothing and counts against no limit.

A dead-lettered message cannot carry a reason, so the service writes a record of it to a stream. A stream can be
read from its first entry any number of times. The reader skips entries that are not records, or are of a later
version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiormq.abc import DeliveredMessage
from pydantic import ValidationError

from consumer.config.credentials import Credentials
from consumer.errors import ConnectionLostError
from consumer.rabbitmq import pamqp_patch
from consumer.rabbitmq.connection import CALL_TIMEOUT_S, NO_FILES, connection, may_be_lost, refusal_explained
from consumer.wire.topology import Topology
from consumer.wire.write import ErrorRecord

#: The unacked records that RabbitMQ may deliver. A stream's consumer must set a prefetch.
PREFETCH = 1000
#: The records per ack: an ack for each would take a third of the time of reading.
ACKED_AT_ONCE = 100
#: RabbitMQ does not report a stream's length (its declared message count is 0), so this silence marks the end.
IDLE_S = 1.0


async def read_error_records(
    url: str, topology: Topology, credentials: Credentials = NO_FILES
) -> list[ErrorRecord]:
    """Read all present records of the stream, the oldest first.

    Raises:
        BrokerUnreachableError, BrokerRefusedError, ConnectionLostError
    """
    records: list[ErrorRecord] = []
    await scan_error_records(url, topology, records.append, credentials)
    return records


async def scan_error_records(
    url: str, topology: Topology, see: Callable[[ErrorRecord], None], credentials: Credentials = NO_FILES
) -> None:
    """Pass each present record of the stream to `see`, the oldest first.

    Raises:
        BrokerUnreachableError, BrokerRefusedError, ConnectionLostError
    """
    pamqp_patch.install()
    inbox: asyncio.Queue[DeliveredMessage] = asyncio.Queue()
    async with connection(url, "errors", credentials) as opened:
        with may_be_lost(), refusal_explained("read the error records"):
            async with asyncio.timeout(CALL_TIMEOUT_S):
                channel = await (await opened.channel(publisher_confirms=False)).get_underlay_channel()
                await channel.basic_qos(prefetch_count=PREFETCH)
                await channel.basic_consume(topology.errors, inbox.put, arguments={"x-stream-offset": "first"})
        with suppress(TimeoutError):
            while True:
                message = await asyncio.wait_for(inbox.get(), IDLE_S)
                tag = message.delivery_tag or 0
                with may_be_lost():
                    if tag % ACKED_AT_ONCE == 0:
                        await channel.basic_ack(tag, multiple=True, wait=False)
                with suppress(ValidationError):
                    see(ErrorRecord.model_validate_json(message.body))
        if channel.is_closed:
            raise ConnectionLostError("the connection to RabbitMQ was lost while the error records were read")
