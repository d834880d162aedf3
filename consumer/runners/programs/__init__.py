"""Checks, before the first job, that a command line can be started. Reads files, starts nothing.

startable.py    refuses a command line that would fail with every job
executable.py   finds out why the kernel would refuse to run a file
interpreter.py  finds the program, script or module that a command line runs
own_python.py   command lines of the service's own Python processes, in which no user's file hides a module of it
"""
