"""`consumer dead-letters`: shows, replays or deletes jobs that failed for good.

This package handles arguments and exit codes; consumer/dead_letters handles the letters.

command.py  the arguments, including the filter's
show.py     `list` and `show`; makes the filter from the arguments, for all actions
change.py   `replay` and `purge`
"""
