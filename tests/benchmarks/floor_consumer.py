"""The floor: the least that the contract costs. `python floor_consumer.py URL QUEUE SLOTS`.

It validates a job, writes it into a file, hands its path to a warm worker over a pipe, removes the file, and acks
when RabbitMQ has confirmed the reply. It has no limits, retries, metrics, log or answer to any fault: nobody
should run it. It fetches four jobs per slot, so that no slot waits for RabbitMQ.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage
from pydantic import BaseModel

JOBS_PER_SLOT = 4
WORKER = Path(__file__).with_name("floor_worker.py")
PREFIX = b"OUTPUT: "


class SignalJob(BaseModel):
    """What a job has to be."""

    signal: list[float]


async def serve(url: str, queue_name: str, slots: int, folder: Path) -> None:
    """Answer jobs until the process is ended."""
    idle: asyncio.Queue[tuple[asyncio.StreamWriter, asyncio.StreamReader]] = asyncio.Queue()
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable, WORKER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(slots)
    ]
    for worker in workers:
        assert worker.stdin
        assert worker.stdout
        idle.put_nowait((worker.stdin, worker.stdout))

    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    await channel.set_qos(slots * JOBS_PER_SLOT)

    async def answer(job: AbstractIncomingMessage) -> None:
        SignalJob.model_validate_json(job.body)
        file = folder / f"{job.delivery_tag}.json"
        file.write_bytes(job.body)
        orders, answers = await idle.get()
        orders.write(f"{file}\n".encode())
        line = await answers.readline()
        idle.put_nowait((orders, answers))
        file.unlink()
        reply = aio_pika.Message(line.removeprefix(PREFIX), correlation_id=job.correlation_id)
        await channel.default_exchange.publish(reply, str(job.reply_to))
        await job.ack()

    queue = await channel.get_queue(queue_name)
    await queue.consume(answer)
    await asyncio.gather(*(worker.wait() for worker in workers))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:  # in memory, as the service's are
        uvloop.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(made)))
