"""Connections to RabbitMQ, publishing and consuming. Knows messages and queues, and nothing about running jobs.

connection.py        opens one connection, closes it, puts its faults into words
supervisor.py        one connection session after another, until the service stops
backoff.py           how long to wait before connecting again, and which faults are logged
connection_scope.py  a session's end, with its reason, for all that depend on it
session.py           a session: deliveries in, messages settled, until a connection is lost
publisher.py         publishes for a session: waits for confirms, tries again, gives up
confirmed_publish.py publishes one message and says what RabbitMQ answered
codec.py             AMQP properties to a `Message` and back; limits that RabbitMQ has reported
admin.py             declares exchanges and queues, or checks that they exist
address_breaker.py   circuit breaker for reply addresses that make RabbitMQ close the connection
management.py        the management API's client
console.py           what only the management API knows: bindings and policies
pamqp_patch.py       property values that pamqp cannot decode become values instead of exceptions
tls_errors.py        why TLS failed, and which side has to change what
fork_guard.py        keeps a forked child from disturbing the connections of its parent
"""
