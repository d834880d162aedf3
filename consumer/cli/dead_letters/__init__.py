"""`consumer dead-letters`: look at jobs that failed, replay or delete them.

Arguments and exit codes only; what happens to the letters is in consumer/dead_letters.

command.py  the arguments, those of the filter as well
show.py     `list` and `show`; makes the filter of the arguments, for all actions
change.py   `replay` and `purge`
"""
