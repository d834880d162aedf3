"""Connections to RabbitMQ, publishing and consuming. Knows messages and queues, and nothing about running jobs.

Connections are not repaired: one session is opened after the other. A delivery ends with its session; a run goes
on, and its outcome is kept for the redelivery. Some facts are known only from RabbitMQ's errors: its largest
message, an address that makes it close the connection, a queue that refuses messages. Such a fact outlives a
session and is dropped when it no longer holds.

connection.py        opens and closes one connection, and explains its faults
supervisor.py        opens one connection session after another, until the service stops
backoff.py           how long to wait before the next connection attempt, and which faults are logged
connection_scope.py  ends everything that depends on a session, with the reason why the session ended
session.py           a session: receives deliveries and settles messages, until a connection is lost
publisher.py         publishes for a session: waits for confirms, tries again, gives up
confirmed_publish.py publishes one message and returns RabbitMQ's answer
codec.py             AMQP properties to a `Message` and back; limits that RabbitMQ has reported
admin.py             declares exchanges and queues, or checks that they exist
address_breaker.py   circuit breaker for reply addresses that make RabbitMQ close the connection
management.py        the management API's client
console.py           facts that only the management API exposes: bindings and policies
pamqp_patch.py       property values that pamqp cannot decode become values instead of exceptions
tls_errors.py        explains why TLS failed, and which side has to change what
fork_guard.py        keeps a forked child from disturbing the connections of its parent
"""
