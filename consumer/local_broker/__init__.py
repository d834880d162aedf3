"""A private RabbitMQ node for development, the demo and the tests. Never for production.

node.py   starts, finds and stops the node; `rabbitmqctl` for it
files.py  the node's folder: its settings, and every file that the server reads
"""
