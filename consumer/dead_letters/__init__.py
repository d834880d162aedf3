"""Jobs that failed for good: read, filtered, published again, deleted.

A letter is removed only after its copy is confirmed.

model.py          the facts of a dead letter, and which letters a filter selects
browse.py         reads all letters and leaves them in the queue
operations.py     replay and purge
replay.py         publishes copies of letters as jobs, each confirmed
error_records.py  reads the stream of error records
format.py         a letter as a line of JSON, or in full for a person
table.py          letters as a table
"""
