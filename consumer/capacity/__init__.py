"""`consumer plan`: how many slots a load and a latency target need. Computes; touches no queue.

plan.py           the question and the answer
planner.py        searches for the fewest slots that meet the target
queueing.py       how long jobs wait: Erlang's formula and a simulation
service_times.py  how long jobs run, as a distribution
measure.py        `consumer try --times`: measures run times
report.py         the answer as a table and as JSON
"""
