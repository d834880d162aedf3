"""Reads arguments and returns exit codes. Each command has a file of its name.

main.py                 the command `consumer`: the table of commands; errors become exit codes
arguments.py            adds the settings as flags, and parses numbers and files
setting_flags.py        the settings that were given as flags
broker_url.py           chooses the RabbitMQ of a command: the configured one, or a private node
say.py                  writes lines for people to stderr
progress_line.py        shows on a terminal that a command works
process_hardening.py    keeps this process's memory from the classifiers that it starts
run.py                  `consumer run`
health.py               `consumer health`; imports little, because probes run it often
try_.py                 `consumer try`
plan.py                 `consumer plan`
check.py                `consumer check`
submit/                 `consumer submit`
gateway.py              `consumer gateway`
status.py               `consumer status`: arguments, table and JSON
queue_state.py          ... reads the queues from RabbitMQ (service/fleet.py reads the consumers)
dead_letters/           `consumer dead-letters`
settings.py             `consumer settings`
asyncapi.py             `consumer asyncapi`
local_broker.py         `consumer local-broker`
demo.py                 `consumer demo`
completion.py           `consumer completion`

All commands run on uvloop: with asyncio's own loop, the consumer needs a third more CPU per job (444 us, not 339).
"""
