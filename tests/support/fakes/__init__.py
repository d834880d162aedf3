"""Fakes for tests of single modules: of RabbitMQ, of a slot, of a server.

A fake enforces the rules of the original. For example, a delivery that is settled twice raises.

deliveries.py     a delivery, and queues that store published messages
slots.py          slots that run no classifier
fleet.py          consumers of one queue, with the real pools and the real fetching
virtual_time.py   an event loop whose time jumps to the next timer
amqp_peer.py      an AMQP peer that misbehaves on request, as no RabbitMQ does
asgi_caller.py    calls an ASGI application as a server would
log_listener.py   collects the job's fields of each log record
"""
