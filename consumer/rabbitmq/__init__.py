"""Connects to RabbitMQ, publishes and consumes. Knows messages and queues, and nothing about running jobs.

A broken connection is not repaired: a new session replaces the old one. A delivery ends with its session; the run
continues, and the service caches its outcome for the redelivery. Some facts appear only in RabbitMQ's errors: its
largest message, an address that makes it close the connection, a queue that refuses messages. The service keeps
such a fact across sessions, until it no longer holds.

connection.py        opens and closes one connection, and explains its faults
supervisor.py        opens one connection session after another, until the service stops
backoff.py           how long to wait before the next connection attempt, and which faults are logged
connection_scope.py  ends everything that depends on a session, with the reason why the session ended
session.py           one session: receives deliveries, until a connection is lost
delivery.py          a delivered message, and how it is settled
publisher.py         publishes for a session: retries, gives up
confirms.py          publishes one message and returns RabbitMQ's answer; limits the wait, except during an alarm
codec.py             converts AMQP properties to a `Message` and back; keeps limits that RabbitMQ has reported
admin.py             declares exchanges and queues, or checks that they exist
address_breaker.py   circuit breaker for reply addresses that make RabbitMQ close the connection
management.py        a client of the management API, for what AMQP does not expose: bindings, policies, consumers
pamqp_patch.py       makes pamqp mark properties that it cannot decode, instead of raising exceptions
tls_errors.py        explains why TLS failed, and what to change on which side
fork_guard.py        keeps a forked child from disturbing the connections of its parent
"""
