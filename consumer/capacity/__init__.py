"""`consumer plan`: how many slots a load and a latency target need. Computes; touches no queue.

plan.py           simulates the queue and searches for the fewest slots that meet the target
service_times.py  how long jobs run, as a distribution
measure.py        `consumer try --times`: measures run times
report.py         the answer as a table and as JSON
"""
