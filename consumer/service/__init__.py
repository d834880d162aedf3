"""The path of one message, and the run of one process from its start to its end.

process.py          one process: opens what the service needs, and closes it
service.py          start, consume, drain, stop
pipeline.py         one message: read, look up, run in a slot, decide, publish, settle
settle.py           publishes what was decided, settles last
fetching.py         the consumers of a session, and jobs that return to the queue
look_ahead.py       decides how many jobs to fetch ahead of the slots
undeliverable.py    logs replies that no queue accepted, but not each of them
settleable.py       the interface of a delivery
outcome_cache.py    recent outcomes, so that a redelivered job is answered without a second run
progress.py         sends `PROGRESS:` lines to the producer, a few a second
running.py          one task per delivery; waits for them at the end, or ends them
signals.py          turns signals into events: stop, stop at once, reload
consumer_info.py    how this consumer describes itself to RabbitMQ: name, runner, classifier, models
fleet.py            reads these descriptions back: what each consumer of the queue runs, and in what they differ
starvation.py       ends a session in which RabbitMQ delivers nothing although jobs are ready
queue_gauges.py     waiting jobs and dead letters, a few times a minute
resource_gauges.py  memory and free disk space of this process, every few seconds
dry_run.py          `consumer try`: one job through the runner, without RabbitMQ
"""
