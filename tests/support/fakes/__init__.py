"""Stand-ins for what a test of one module does without: RabbitMQ, a slot, a server.

A fake keeps the rules of the thing that it stands for: a delivery that is settled twice raises.

deliveries.py     a delivery, and the queues that take what is published meanwhile
slots.py          slots that run no classifier
fleet.py          consumers of one queue, with the real pools and the real fetching
virtual_time.py   a loop whose time jumps
amqp_peer.py      an AMQP peer that does what no RabbitMQ does on request
asgi_caller.py    asks an ASGI application as a server would
log_listener.py   collects what each record of the log knows of its job
"""
