"""RabbitMQ as tests use it: the real one, and those who speak to it that are not ours.

Nothing here runs a command of ours.

producer.py         publishes jobs and takes replies, with pika
raw_producer.py     publishes properties that no client library would send
management_api.py   rabbitmqctl, virtual hosts, and the management API for one of them
definitions.py      what deploy/rabbitmq/definitions.json defines
tcp_proxy.py        stands between a client and RabbitMQ, and does what networks do
cluster.py          three nodes that are one cluster, to be killed and started
orphans.py          ends the nodes of a test run that was killed
rabbitmq-of.sh      installs the RabbitMQ of another Debian release
"""
