"""`consumer check`: finds, before the start, faults that would stop the service or lose jobs. Changes nothing.

Each check has a function that queries and a pure function that judges. The checks send RabbitMQ only requests that
have no effect or that RabbitMQ refuses. Each setting that can be wrong has a check, and a row in a table of the
tests.

checks.py      lists the checks in order: name, requirements, time limit
finding.py     a result: level, sentence, remedy; formats it as text and as JSON
context.py     the input of the checks; keeps what one check opens for later ones
machine.py     checks CPUs, threads, open files, the job folder, and more of this machine
models.py      checks the models folder, if the settings select the service's own classifier; `run` uses it, too
limits.py      checks whether the limits of jobs fit the machine and each other
classifier.py  checks whether the classifier loads, and runs a sample job; has a remedy for each error code
rabbitmq.py    checks whether RabbitMQ accepts the connection, and its version
amqp_probe.py  queries RabbitMQ without changing anything
consumers.py   compares the consumers of the jobs queue with each other and with these settings
queues.py      checks whether exchanges and queues exist as expected
permissions.py checks the user's permissions, and whether RabbitMQ accepts messages
"""
