"""A private RabbitMQ node for development, the demo and the tests. Never for production.

node.py          starts, finds and stops the node
sharing.py       lets several commands use the node, and stops it with the last of them
processes.py     finds and ends its processes
files.py         keeps the node's folder, with its settings
server_files.py  writes every file that the server reads
"""
