"""`consumer plan`: computes how many slots a load and a latency target need. Uses no RabbitMQ.

plan.py           simulates the queue until it finds the fewest slots that meet the target
service_times.py  makes a distribution of run times from measurements or figures
measure.py        `consumer try --times`: measures run times
report.py         formats the plan as a table and as JSON
"""
