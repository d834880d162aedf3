"""Runs this project's commands as processes.

A start takes time. Unless a test is about the start, a command runs in a fork of a process that has imported its
modules.

commands.py            the folder of the installed commands, and the environment of a consumer
forked.py              runs a command in such a fork
consumer_process.py    runs `consumer run` and reads its log
log_lines.py           parses lines of that log: event, fields, text
health.py              queries a consumer's health over HTTP
gateway_process.py     runs `consumer gateway` and sends it requests
shell_classifiers.py   writes classifiers in shell
"""
