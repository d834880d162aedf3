"""Our commands as processes, and what a test gives them and asks them.

A start costs: where it is not the subject, a command runs in a fork of a process that has imported all of it.

commands.py            where the installed commands are, and the environment that one gets
forked.py              runs a command in such a fork
consumer_process.py    `consumer run` with its log, from ready to gone
log_lines.py           lines of that log: their event, their fields, their text
health.py              asks a consumer how it is, over HTTP
gateway_process.py     `consumer gateway`, asked over HTTP
shell_classifiers.py   classifiers that a test writes line by line
"""
