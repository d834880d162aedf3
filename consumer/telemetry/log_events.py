"""Lists the name of every event in the log.

A log call passes its event as `extra={"event": name}`, a plain string, because packages on the same floor must not
import this one. A record's message is for people and may change. Its event is for programs and tests, and does not
change. A test fails if a name is used but not listed here, or listed but not used.
"""

from __future__ import annotations

from types import MappingProxyType

#: Name → when it is logged. A name means the same in every process.
EVENTS = MappingProxyType(
    {
        # Start and stop of a process.
        "setting_unknown": "a CONSUMER_ variable is not the name of a setting",
        "runs_as_root": "the service runs as root, and so do the classifiers",
        "memory_not_hidden": "other processes of this user can read this process's memory",
        "private_node_used": "no amqp_url is set: `demo` or `run` starts a private RabbitMQ node",
        "private_node_step": "what happens while that node is found or started; a start takes seconds",
        "private_node_ready": "the private node accepts connections; the message has its URL without the password",
        "runner_opened": "the classifier is loaded, or its program found",
        "http_listening": "the pages of health and metrics are served",
        "ready": "the service takes jobs; the gateway accepts requests and receives replies",
        "consumers_differ": "another consumer of the queue runs another classifier, model or version",
        "consumers_unknown": "there are other consumers, and no management API shows what they run",
        "stopping": "a first signal: the process stops",
        "stopping_at_once": "a second signal: the process stops without a grace period",
        "draining": "running jobs have time to finish; logged again while they run",
        "draining_unconnected": "running jobs may finish, but RabbitMQ is unavailable and will redeliver them",
        "drain_interrupted": "the grace period is over: running jobs are ended and requeued",
        "stopped": "the process has stopped after a signal",
        "failed": "the command cannot continue; the message has the reason",
        "bug": "an unexpected exception; `exception` has the traceback",
        # The connection to RabbitMQ.
        "connection_lost": "the connection or the consumer was lost; the process reconnects",
        "reconnect_failed": "a connection attempt failed; `error` has its kind",
        "reconnected": "the process has reconnected and consumes again",
        "publishing_blocked": "RabbitMQ accepts no messages: a memory or disk alarm",
        "publishing_unblocked": "RabbitMQ accepts messages again",
        "error_stream_away": "the node of the error stream is down; the service continues without it",
        # A job.
        "job_log": "a `LOG:` line of the classifier",
        "job_log_dropped": "a job wrote more `LOG:` lines than the log accepts",
        "output_ignored": "a line of stdout that is no line of the contract, at level DEBUG",
        "stderr_line": "a line of stderr of a job that succeeded, at level DEBUG",
        "jobs_returned": "waiting jobs return to the queue, because slots hold long jobs",
        "job_started": "a job starts in a slot (level DEBUG)",
        "job_settled": "a delivery was settled; see `outcome` and `settlement`",
        "summary": "what became of the jobs of the last minute",
        "job_not_settled": "a delivery cannot be settled any more; RabbitMQ will redeliver the job",
        "job_redelivered": "a job was redelivered while it runs; the delivery waits for that run",
        "job_abandoned": "a job does not run, because its caller has disconnected",
        "job_waiting_for_room": "a job waits for free space in job_dir",
        "reply_undeliverable": "no queue accepted the reply",
        "copy_undeliverable": "the copy for a retry, or the error record, could not be published",
        # Running the classifier.
        "reloading": "SIGHUP: the classifier is being reloaded",
        "reloaded": "new jobs go to the new classifier",
        "reload_failed": "the old classifier stays in service; `exception` has the traceback of its code, if any",
        "reload_needless": "each job starts the program anew, so there is nothing to reload",
        "import_hidden": "a module of this service's Python hides one of the classifier's",
        "import_started_threads": "importing the classifier started threads, which workers do not inherit",
        "warm_up_skipped": "the classifier's warm_up started threads, so it was loaded again without it",
        "import_shared": "importing the classifier opened a descriptor that all workers share",
        "import_reopened": "importing the classifier opened a file that each worker reopens",
        "environment_absent": "pass_environment names a variable that is not set",
        "worker_unavailable": "no worker could be forked",
        "worker_died_idle": "a worker died between jobs",
        "worker_retired": "a worker is replaced, because its job left something behind",
        "worker_lingered": "a worker was terminated, because it did not end the job after its answer",
        "program_lingered": "a program was terminated, because it did not end after its answer",
        "fork_server_died": "the fork server died and is replaced",
        "batch_refused": "a batch could not start; its jobs run alone",
        "batch_ids_too_long": "the ids of a batch do not fit into an order; its jobs run alone",
        "batch_broken": "a batch ended without all answers; the other jobs run alone",
        "job_dir_full": "job_dir is short of space, and no running job has filled it",
        "job_dir_not_emptied": "a job's files could not be removed",
        # Telemetry.
        "statsd_unresolved": "statsd's host name cannot be resolved; no metrics are sent to it",
        "spans_lost": "no collector accepts the spans",
        "spans_taken": "a collector accepts the spans again",
        # The gateway.
        "gateway_open": "the gateway requires no token",
        "gateway_listening": "HTTP requests are accepted",
        "gateway_connected": "jobs can be published",
        "tokens_reloaded": "the file of tokens changed",
        "tokens_not_reloaded": "the file of tokens changed and cannot be used; the old tokens stay valid",
    }
)
#: The fields of the event `summary`; `failed` is an object, attempts by code.
SUMMARY = ("done", "retried", "dead_lettered", "failed", "p50_ms", "p95_ms", "busy", "slots", "left_out")
#: The fields that a log call may set. Their values never contain foreign text.
FIELDS = (
    *("event", "error", "consumer"),
    *("outcome", "code", "settlement", "run_ms", "wait_ms", "total_ms"),
    *SUMMARY,
)
