"""Reads, selects, replays and purges dead letters: jobs that failed for good.

A replayed letter is removed only after RabbitMQ has confirmed its copy.

model.py          the facts of a dead letter, and which letters a filter selects
browse.py         reads all letters and leaves them in the queue
operations.py     replay and purge
replay.py         publishes copies of letters as jobs, each confirmed
error_records.py  reads the stream of error records
format.py         formats a letter as a line of JSON, or in full for a person
table.py          prints letters as a table
"""
