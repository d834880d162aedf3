"""The path of one message, and the life of one process.

service.py          start, consume, drain, stop
pipeline.py         one message from delivery to settlement
outcome_cache.py    recent outcomes, so that a redelivered job is answered without a second run
progress.py         `PROGRESS:` lines to the producer, a few a second
stuck_slots.py      which slots are held for longer than their run can last: for health
consumer_info.py    what the management console shows about this consumer
resource_gauges.py  memory and free disk space of this process, every few seconds
dry_run.py          `consumer try`: one job through the runner, without RabbitMQ
"""
