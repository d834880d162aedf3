"""Reports what happened: logs, metrics, traces, health. Decides nothing.

Health is a table of complaints over facts. Only faults that a restart repairs make the process not alive; an
outage of RabbitMQ is not one of them. Only otel.py and otel_export.py import OpenTelemetry, and only when
`tracing` is on.
log_context.py adds the job's fields to every log call of the job's task; a task that outlives the job starts in an
empty context.

metrics.py        the name of every metric; keeps and sends their values
statsd.py         sends metrics to statsd, many per datagram; labels are parts of the name
prometheus.py     counters, gauges and histograms, their labels, and their text for Prometheus
tracing.py        the interface for tracing a delivery's steps; does nothing while tracing is off
tracer_setup.py   makes the tracer that the setting chooses
otel.py           records these steps as OpenTelemetry spans
otel_export.py    sends the spans to a collector
log_context.py    adds the current job to every log record
allowance.py      admits a limited number of log lines over time
job_lines.py      writes a line when a job starts and when it is settled
summary.py        writes a summary of the jobs each minute
job_log.py        writes a classifier's `LOG:` lines to the log, at a limited rate
log_events.py     the name of every event in the log
log_format.py     formats a record as one line: text for people or JSON for machines
health.py         whether the process is alive and ready
http_server.py    serves the pages of health and metrics
health_client.py  `consumer health`: queries the consumer on this machine
systemd.py        reports readiness, watchdog pings and status to systemd
"""
