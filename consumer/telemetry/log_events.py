"""The name of every event in the log: the one list of them.

A log call gives its event as `extra={"event": name}`: a plain string, because packages on the same floor must not
import this one. The sentence of a record is for people and may change; its event is for programs and tests, and
stays. A test fails when a name is used but not listed here, or listed but not used.
"""

from __future__ import annotations

from types import MappingProxyType

#: Name → when it is logged. One name means one thing, whichever process logs it.
EVENTS = MappingProxyType(
    {
        # The life of a process.
        "setting_unknown": "a CONSUMER_ variable is not the name of a setting",
        "runs_as_root": "the service runs as root, and so do the classifiers",
        "memory_not_hidden": "other processes of this user can read this process's memory",
        "private_node_used": "no amqp_url is set: `demo` or `run` starts a private RabbitMQ node",
        "private_node_stopping": "that private node is being stopped",
        "runner_opened": "the classifier is loaded, or its program found",
        "http_listening": "the pages of health and metrics are served",
        "ready": "the service takes jobs; the gateway takes requests and hears replies",
        "stopping": "a first signal asked for the end",
        "stopping_at_once": "a second signal asked for it at once",
        "draining": "running jobs get time to end; logged again while they run",
        "draining_unconnected": "running jobs get time to end, but RabbitMQ is away and will deliver them again",
        "drain_interrupted": "the time is up: running jobs are ended and go back to the queue",
        "stopped": "the process ends as asked",
        "failed": "the command cannot go on; the message says why",
        "bug": "an exception that nobody expected; `exception` has the traceback",
        # The connection to RabbitMQ.
        "connection_lost": "the connection or the consumer is gone; the process connects again",
        "reconnect_failed": "an attempt to connect again failed; `error` has its kind",
        "reconnected": "the connection is back, and so are the messages",
        "publishing_blocked": "RabbitMQ holds what is published: a memory or disk alarm",
        "error_stream_away": "the node of the error stream is away; jobs are taken without it",
        # A job.
        "job_log": "a `LOG:` line of the classifier",
        "job_log_dropped": "a job wrote more `LOG:` lines than the log takes",
        "job_settled": "a delivery was settled; `outcome` and `settlement` say how",
        "job_not_settled": "a delivery cannot be settled any more and comes again",
        "job_redelivered": "a job came again while it runs: the delivery waits for that run",
        "job_abandoned": "a job is not run: whoever asked for it has gone",
        "job_waiting_for_room": "a job waits for free space in job_dir",
        "reply_undeliverable": "no queue took the reply",
        "copy_undeliverable": "the copy for another attempt, or the error record, could not be published",
        # Running the classifier.
        "reloading": "SIGHUP: the classifier is being loaded anew",
        "reloaded": "new jobs go to the new classifier",
        "reload_failed": "the old classifier goes on serving",
        "reload_needless": "every job starts the program anew",
        "import_hidden": "a module of this service's Python hides one of the classifier's",
        "import_started_threads": "importing the classifier started threads, which workers do not have",
        "warm_up_skipped": "a warm-up would have started threads; workers start without it",
        "import_shared": "importing the classifier opened something that all workers share",
        "import_reopened": "importing the classifier opened something that each worker opens anew",
        "environment_absent": "pass_environment names a variable that is not set",
        "worker_unavailable": "no worker could be forked",
        "worker_died_idle": "a worker died between jobs",
        "worker_retired": "a worker is replaced after a job, for what that job left behind",
        "worker_lingered": "a worker was terminated: it went on after its answer",
        "program_lingered": "a program was terminated: it went on after its answer",
        "fork_server_died": "the fork server died and is replaced",
        "batch_refused": "a batch could not start: its jobs run each alone",
        "batch_ids_too_long": "the ids of a batch do not fit into an order: its jobs run each alone",
        "batch_broken": "a batch ended without all answers: the rest runs each alone",
        "job_dir_full": "job_dir is short of space, and no running job has filled it",
        "job_dir_not_emptied": "a job's files could not be removed",
        # Telemetry.
        "statsd_unresolved": "no metrics go to statsd: its host has no address",
        "spans_lost": "no collector takes the spans",
        "spans_taken": "a collector takes the spans again",
        # The gateway.
        "gateway_open": "no token is asked for",
        "gateway_listening": "HTTP requests are accepted",
        "gateway_connected": "jobs can be published",
        "tokens_reloaded": "the file of tokens changed",
        "tokens_not_reloaded": "the file of tokens changed and cannot be used: the old tokens count",
    }
)
#: What a record of ours may say besides; its values are ours, never text of others.
FIELDS = ("event", "outcome", "settlement", "error")
