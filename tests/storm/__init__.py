"""Faults without end, and what has become of every job when they are over: integration/test_storm.py runs one.

jobs.py         what each kind of job does, and what must become of it
supply.py       the producer, which publishes again what was not confirmed
units.py        a consumer that is started again whenever it has ended
amqp_proxy.py   says to consumers what RabbitMQ says on rare days
faults.py       the faults, in lanes that blow side by side
probes.py       asks a consumer for its health all the time
weather.py      one storm, from the first process to the last
oracle.py       what was sent against what came of it, here and on a cluster (integration/cluster_storm.py)
account.py      what a storm was and what it left, for a person
"""
