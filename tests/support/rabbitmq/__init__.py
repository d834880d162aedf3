"""Real RabbitMQ nodes for tests, and clients that are not part of this project. Runs no command of this project.

producer.py         publishes jobs and receives replies, with pika
raw_producer.py     publishes properties that no client library would send
management_api.py   rabbitmqctl, virtual hosts, and the management API for one of them
definitions.py      the content of deploy/rabbitmq/definitions.json
tcp_proxy.py        a proxy between a client and RabbitMQ, which causes network faults
cluster.py          a cluster of three nodes, which tests kill and start
server_home.py      the installed RabbitMQ with fewer plugins, which starts in half the time
orphans.py          ends the nodes of a test run that was killed
rabbitmq-of.sh      installs the RabbitMQ of another Debian release
"""
