"""A private RabbitMQ node for development, the demo and the tests. Never for production.

node.py       starts, finds and stops the node
processes.py  finds and ends its processes
files.py      keeps the node's settings, and writes every file that the server reads
"""
