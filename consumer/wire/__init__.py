"""The contract with producers: messages, names and documents. Pure: no I/O, no clock, no aio-pika.

message.py        an AMQP message, and the names of its types and headers
read.py           an AMQP message in, a `Job` out
write.py          an `Outcome` in; a reply, an error record or a copy of the message out
encoding.py       decodes the body of a job: gzip, byte order mark, UTF-8
reply_address.py  which `reply_to` addresses are allowed
topology.py       names and arguments of all exchanges and queues; delays before a job is retried
schemas.py        the JSON Schemas of all messages
asyncapi.py       the AsyncAPI document
"""
