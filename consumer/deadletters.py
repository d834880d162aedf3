"""What failed, and why: reads the error records. Looking consumes nothing and counts against nothing.

A dead-lettered message cannot carry a reason, so each leaves a record in a stream, which can be read from its
first entry any number of times.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aio_pika.abc import AbstractIncomingMessage

from consumer.connection import CALL_TIMEOUT_S, NO_FILES, connection, refusal_explained
from consumer.credentials import Credentials
from consumer.messages import ErrorRecord
from consumer.topology import Topology

#: Unacked records that RabbitMQ sends ahead; streams are not read without a prefetch.
PREFETCH = 200
#: A stream does not say how long it is (its declared message count is 0), so silence is its end.
IDLE_S = 1.0


async def read_error_records(
    url: str, topology: Topology, credentials: Credentials = NO_FILES
) -> list[ErrorRecord]:
    """Read all records that the stream holds now, the oldest first.

    Raises:
        BrokerUnreachableError, BrokerRefusedError
    """
    async with connection(url, "errors", credentials) as opened:
        channel = await opened.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=PREFETCH)
        stream = await channel.get_queue(topology.errors, ensure=False)
        inbox: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        with refusal_explained("read the error records"):
            await stream.consume(inbox.put, arguments={"x-stream-offset": "first"}, timeout=CALL_TIMEOUT_S)
        records: list[ErrorRecord] = []
        with suppress(TimeoutError):
            while True:
                message = await asyncio.wait_for(inbox.get(), IDLE_S)
                await message.ack()
                records.append(ErrorRecord.model_validate_json(message.body))
        return records
