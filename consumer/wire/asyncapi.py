"""Generates the published contract, an AsyncAPI 3 document, from the code.

Pure: the inputs are the schemas of schemas.py, the types of message.py and the names of topology.py; the output is
JSON. This module adds which message is on which channel, and the meaning of each property. The functions that
build messages also build the examples. `deploy/` holds a copy; a test fails when the copy is out of date.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from consumer.job import Failed, Outcome, Progress, Request, Succeeded, Usage
from consumer.wire import message, schemas, write
from consumer.wire.reply_address import DIRECT_REPLY_TO
from consumer.wire.schemas import ID, Json
from consumer.wire.topology import Queue, Topology

VERSION = "3.0.0"
#: The version of AsyncAPI's AMQP bindings.
_BINDING = {"bindingVersion": "0.3.0"}
_JSON_TYPE = "application/json"

_ANSWER_HEADERS: Json = {
    message.JOB_ID_HEADER: {**ID, "description": "The job's id, the same in each message about it."},
    message.TRACEPARENT_HEADER: {
        **schemas.TRACEPARENT,
        "description": "The job's trace context; if the service traces, that of the job's run, a child of it.",
    },
}
_JOB_PROPERTIES: Json = {
    "message_id": {**ID, "description": "The job's id; without it, the service generates one."},
    "correlation_id": {
        **ID,
        "description": "Repeated in the reply. Without it, the reply has the message_id.",
    },
    "reply_to": {
        "type": "string",
        "description": f"The producer's queue, or {DIRECT_REPLY_TO}; without it, replies go to results.",
    },
    "content_encoding": {"type": "string", "description": "gzip for a compressed body; without it, UTF-8 text."},
    "expiration": {"type": "string", "pattern": "^[0-9]+$", "description": "RabbitMQ's time to live, in ms."},
    "timestamp": {"type": "integer", "description": "When the job was sent, in seconds since the epoch."},
    "delivery_mode": {"enum": [1, 2], "description": "2, persistent: the job survives a restart of RabbitMQ."},
    "priority": {"type": "integer", "minimum": 0, "maximum": 255},
}
#: The consumer, the job and the outcomes in the examples.
_CONSUMER = "host:4711"
_REQUEST = Request(id="job-1", correlation_id="job-1")
_SUCCEEDED = Succeeded(output=b'{"label": "running"}', run_s=0.0031)
_FAILED = Failed(
    message="the job has no signal", run_s=0.0007, usage=Usage(cpu_s=0.0006, peak_memory_bytes=94371840)
)


def document(topology: Topology, version: str) -> Json:
    """Make the AsyncAPI document of a service with the queue names of `topology`."""
    shared = "#/components/schemas/{model}"
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "rabbitmq-classifier",
            "version": version,
            "description": (
                "Takes jobs from a RabbitMQ queue, runs each in a classifier process, and replies. A job is "
                "answered at least once; each reply to it has the same job_id. Any AMQP 0-9-1 client will do. "
                "`x-amqp-properties` of a message is the schema of its AMQP properties, `x-arguments` of a queue "
                "are those that it is declared with."
            ),
            "license": {"name": "MIT"},
        },
        "defaultContentType": _JSON_TYPE,
        "servers": {"rabbitmq": _server("amqp"), "rabbitmq-tls": _server("amqps")},
        "channels": _channels(topology),
        "operations": _operations(),
        "components": {
            "schemas": {"Job": schemas.JOB, **schemas.of_messages(shared)},
            "messages": _messages(shared),
            "securitySchemes": {
                "password": {"type": "userPassword"},
                "certificate": {"type": "X509", "description": "SASL EXTERNAL with a client certificate."},
            },
        },
    }


def _server(protocol: str) -> Json:
    return {
        "host": "{host}",
        "pathname": "/{vhost}",
        "protocol": protocol,
        "protocolVersion": "0.9.1",
        "variables": {
            "host": {"default": "localhost", "description": "RabbitMQ's host, and its port if it is not usual."},
            "vhost": {"default": "", "description": "The virtual host that the service uses."},
        },
        "security": [{"$ref": f"#/components/securitySchemes/{scheme}"} for scheme in ("password", "certificate")],
    }


def _messages(shared: str) -> Json:
    record = write.error_record(_REQUEST, _FAILED, consumer=_CONSUMER)
    progress = write.progress_report(_REQUEST, Progress(0.4, "fitting"))
    return {
        "job": {
            "title": "Job",
            "summary": "A job, published by a producer. All headers and properties are optional.",
            "contentType": _JSON_TYPE,
            "headers": {"type": "object", "properties": schemas.JOB_HEADERS},
            "payload": schemas.ref(shared, "Job"),
            "correlationId": _correlation("The property correlation_id; without it, message_id."),
            "x-amqp-properties": {"type": "object", "properties": _JOB_PROPERTIES},
            "examples": [{"name": "signal", "payload": schemas.JOB["examples"][0]}],
        },
        "succeeded": _reply(shared, "SucceededReply", "The reply to a job that has succeeded.", _SUCCEEDED),
        "failed": _reply(shared, "FailedReply", "The reply to a job that has failed.", _FAILED),
        "progress": {
            **_answer(shared, "ProgressReport", "The progress of a job.", message.PROGRESS_TYPE, mode=1),
            "examples": [_example(progress)],
        },
        "errorRecord": {
            **_answer(shared, "ErrorRecord", "Why a job is in the dead-letter queue.", message.ERROR_TYPE),
            "examples": [_example(record, time="2026-01-31T12:00:00.000+00:00")],
        },
    }


def _reply(shared: str, schema: str, summary: str, outcome: Outcome) -> Json:
    made = write.reply(_REQUEST, outcome, consumer=_CONSUMER)
    return {**_answer(shared, schema, summary, str(made.type)), "examples": [_example(made)]}


def _answer(shared: str, schema: str, summary: str, kind: str, *, mode: int = 2) -> Json:
    """Describe a message that the service sends about a job."""
    properties: Json = {
        "message_id": {**ID, "description": "New with each publish."},
        "correlation_id": {
            **ID,
            "description": "The job's correlation_id, else its message_id, else its id.",
        },
        "type": {"const": kind},
        "content_type": {"const": _JSON_TYPE},
        "delivery_mode": {"const": mode, "description": "2: persistent."},
    }
    return {
        "name": kind,
        "title": schema,
        "summary": summary,
        "contentType": _JSON_TYPE,
        "headers": {"type": "object", "properties": _ANSWER_HEADERS, "required": [message.JOB_ID_HEADER]},
        "payload": schemas.ref(shared, schema),
        "correlationId": _correlation("The property correlation_id."),
        "bindings": {"amqp": {"messageType": kind, **_BINDING}},
        "x-amqp-properties": {"type": "object", "properties": properties, "required": list(properties)},
    }


def _example(message: message.Message, **fixed: str) -> Json:
    return {"headers": dict(message.headers), "payload": {**json.loads(message.body), **fixed}}


def _correlation(description: str) -> Json:
    # AsyncAPI knows only headers and payload. AMQP has properties for the headers of other protocols.
    return {"location": "$message.header#/correlation_id", "description": description}


def _channels(topology: Topology) -> Json:
    """Describe the queues that a producer uses. The other queues belong to the service alone."""
    held: Mapping[str, tuple[Sequence[str], str]] = {
        topology.jobs: (["job"], "Publish jobs here, by the default exchange."),
        topology.results: (["succeeded", "failed"], "The replies of jobs without reply_to."),
        topology.errors: (
            ["errorRecord"],
            "A stream with a record of each dead-lettered job. Reading removes nothing.",
        ),
    }
    queues = {queue.name: queue for queue in topology.queues()}
    return {
        **{
            name.removeprefix(topology.prefix + "."): _queue(queues[name], _held(*messages), description)
            for name, (messages, description) in held.items()
        },
        "replies": {
            "address": None,
            "description": (
                "The address in a job's reply_to: a queue of its producer, or RabbitMQ's direct reply-to. For "
                f"the latter, the producer consumes from {DIRECT_REPLY_TO}, without acks, before it publishes "
                "with that name as reply_to on the same channel. A reply to a producer that has gone is dropped."
            ),
            "messages": _held("succeeded", "failed", "progress"),
        },
    }


def _held(*names: str) -> Json:
    return {name: schemas.ref("#/components/messages/{model}", name) for name in names}


def _queue(queue: Queue, held: Json, description: str) -> Json:
    declared = {"name": queue.name, "durable": True, "exclusive": False, "autoDelete": False}
    return {
        "address": queue.name,
        "description": description,
        "messages": held,
        "bindings": {"amqp": {"is": "queue", "queue": declared, **_BINDING, "x-arguments": dict(queue.arguments)}},
    }


def _operations() -> Json:
    """Describe the operations of the service: it receives jobs and sends all other messages."""
    return {
        "takeJob": {
            "action": "receive",
            "summary": "Run a job, reply to the queue in its reply_to, then ack.",
            **_operation_messages("jobs", "job"),
            "bindings": {"amqp": {"ack": True, **_BINDING}},
            "reply": {
                "address": {"location": "$message.header#/reply_to", "description": "The property reply_to."},
                **_operation_messages("replies", "succeeded", "failed", "progress"),
            },
        },
        "replyToResults": _sending("results", "Reply to a job without reply_to.", "succeeded", "failed"),
        "recordError": _sending("errors", "Record why a job ended in the dead-letter queue.", "errorRecord"),
    }


def _sending(channel: str, summary: str, *names: str) -> Json:
    bindings = {"amqp": {"deliveryMode": 2, "mandatory": True, **_BINDING}}
    return {"action": "send", "summary": summary, **_operation_messages(channel, *names), "bindings": bindings}


def _operation_messages(channel: str, *names: str) -> Json:
    return {
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names],
    }
