"""Checks, before the first job, that a command line can be started. Reads files, starts nothing.

startable.py    refuses a command line that would fail with every job
executable.py   why the kernel would not run a file
elf.py          which machine and which loader an ELF file needs
interpreter.py  which program, script or module a command line runs
own_python.py   starts Python processes of ours, so that no file of the user replaces a module of ours
"""
