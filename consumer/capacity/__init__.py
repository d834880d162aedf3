"""`consumer plan`: how many slots a load and a latency target need. Computes; touches no queue.

plan.py           simulates the queue until it finds the fewest slots that meet the target
service_times.py  run times of jobs as a distribution
measure.py        `consumer try --times`: measures run times
report.py         the plan as a table and as JSON
"""
