"""`consumer check`: finds, before the start, what would stop or hurt the service later. Changes nothing.

Each check has a function that asks and a function that judges. RabbitMQ is asked only for what it refuses or what
has no effect. Each setting that can be wrong gets a check, and a row in the tables of its tests.

checks.py      the checks in order: the name, the requirement and the time limit of each
finding.py     a result: level, sentence, remedy; as text and as JSON
context.py     the input of the checks, and what an earlier check opened for later ones
machine.py     CPUs, threads, open files, the job folder
limits.py      whether the limits of jobs fit the machine and each other
classifier.py  whether the classifier loads, and its result for a sample job; a remedy for each error code
rabbitmq.py    whether RabbitMQ accepts the connection, and its version
amqp_probe.py  queries to RabbitMQ that change nothing
queues.py      whether exchanges and queues exist as expected
permissions.py what this user may do, and whether RabbitMQ accepts messages
"""
