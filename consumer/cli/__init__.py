"""Arguments in, exit code out. One file per command, named as it is typed.

main.py                 the command `consumer`: settings, commands, exit codes
submit.py               `consumer submit`: arguments
submission.py           ... publishes the jobs and collects the results
submit_input.py         ... jobs from files; signals by way of `classifier jobs` (classifier/signals/datasets.py)
submit_output.py        ... results as lines of a file, resumable
submit_progress.py      ... progress bars
status.py               `consumer status`: asks RabbitMQ and its management API, never a consumer
try_.py                 `consumer try`
plan.py                 `consumer plan`
demo.py                 `consumer demo`
dead_letters.py         `consumer dead-letters`: arguments, those of the filter as well
dead_letters_show.py    ... `list` and `show`; makes the filter of the arguments, for all actions
dead_letters_change.py  ... `replay` and `purge`
arguments.py            numbers on a command line
process_hardening.py    keeps this process's memory from the classifiers that it starts
"""
