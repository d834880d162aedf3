"""The path of one message, and the life of one process.

service.py          start, consume, drain, stop
pipeline.py         one message: read, look up, run in a slot, decide, settle
settle.py           publishes what was decided, settles last
delivery.py         the interface of a delivery for this path
outcome_cache.py    recent outcomes, so that a redelivered job is answered without a second run
progress.py         sends `PROGRESS:` lines to the producer, a few a second
signals.py          stop, stop at once, reload
stuck_slots.py      finds slots that are held for longer than their run can last, for health
consumer_info.py    runner and classifier as the management API shows them beside this consumer
resource_gauges.py  memory and free disk space of this process, every few seconds
dry_run.py          `consumer try`: one job through the runner, without RabbitMQ
"""
