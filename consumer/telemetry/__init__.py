"""Reports what happened: logs, metrics, traces, health. Decides nothing.

Health is a table of complaints over facts. Liveness contains only faults that a restart repairs, so an outage of
RabbitMQ is never among them. Only otel.py and otel_export.py import OpenTelemetry, and only when `tracing` is on.
A log call in a job's task gets the job's fields by itself; a task that outlives the job starts in an empty
context.

metrics.py        the name of every metric; keeps and sends their values
statsd.py         sends them to statsd, many to a datagram
prometheus.py     counters, gauges and histograms, and their text for Prometheus
tracing.py        the steps of a delivery, to be traced; does nothing while tracing is off
otel.py           those steps as OpenTelemetry spans
otel_export.py    sends the spans to a collector
log_context.py    the job that the running code works on, for every log record
job_log.py        `LOG:` lines on their way to the log, at a bounded rate
log_events.py     the name of every event in the log
log_format.py     text for people or JSON for machines, one line per record
health.py         whether the process is alive and ready
http_server.py    serves the pages of health and metrics
health_client.py  `consumer health`: asks the consumer on this machine
systemd.py        reports readiness, watchdog pings and status to systemd
"""
