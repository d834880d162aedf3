"""`consumer plan`: how many slots a load and a latency target need. Computes; touches no queue.

plan.py           the question and the answer
planner.py        searches for the fewest slots that meet the target
queueing.py       how long jobs wait: Erlang's formula and a simulation
service_times.py  how long jobs run, as a distribution
run_times.py      run times from a metrics page
measure.py        `consumer try --times`: measures run times
fetch_ahead.py    what fetching ahead would cost
report.py         the answer as a table and as JSON
drawing.py        the answer as a picture
"""
