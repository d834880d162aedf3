"""The client for producers: publishes jobs and returns their results. Works without the service. Import from here.

client.py           the asyncio client, `Client`: jobs in, results out
request_client.py   publishes requests over changing connections, and passes on their replies
blocking.py         `BlockingClient`, with the same methods, for code without asyncio
types.py            the types of jobs, signals, results and progress
exceptions.py       an exception for each way in which a job can fail (export each here, and in docs/site/api.md)
arguments.py        checks arguments before anything is sent
plain_json.py       converts jobs of lists, dicts and arrays to plain JSON values
pending_request.py  a request in flight, until its reply arrives
rpc_channel.py      publishes jobs and receives replies on one connection, by direct reply-to or a reply queue
bounded.py          runs many requests with a bounded number in flight
ownership.py        restricts a client to the process and event loop that opened it
"""

import logging

from consumer.client.blocking import BlockingClient
from consumer.client.client import Client
from consumer.client.exceptions import (
    ArgumentError,
    ClassifierError,
    ClientUseError,
    ClosedClientError,
    CrashedError,
    ForkedClientError,
    InvalidJobError,
    InvalidOutputError,
    JobFailedError,
    JobTooLargeError,
    NoReplyError,
    OverLimitError,
    TimedOutError,
    UnreadableReplyError,
    UnsendableJobError,
    WrongLoopError,
)
from consumer.client.types import Done, Job, OnProgress, Result, Signal
from consumer.config.credentials import Credentials
from consumer.errors import BrokerRefusedError, BrokerUnreachableError, ConfigurationError, ConnectionLostError
from consumer.job import Progress

__all__ = [
    "ArgumentError",
    "BlockingClient",
    "BrokerRefusedError",
    "BrokerUnreachableError",
    "ClassifierError",
    "Client",
    "ClientUseError",
    "ClosedClientError",
    "ConfigurationError",
    "ConnectionLostError",
    "CrashedError",
    "Credentials",
    "Done",
    "ForkedClientError",
    "InvalidJobError",
    "InvalidOutputError",
    "Job",
    "JobFailedError",
    "JobTooLargeError",
    "NoReplyError",
    "OnProgress",
    "OverLimitError",
    "Progress",
    "Result",
    "Signal",
    "TimedOutError",
    "UnreadableReplyError",
    "UnsendableJobError",
    "WrongLoopError",
]

# The AMQP libraries log a line for each connection attempt. Without a handler, Python prints it on the stderr of a
# program that configures no logging. The client's own log reports each outage, its exceptions the cause.
for _library in ("aio_pika", "aiormq"):
    logging.getLogger(_library).addHandler(logging.NullHandler())
