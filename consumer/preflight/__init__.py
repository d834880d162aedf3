"""`consumer check`: finds, before the start, what would stop or hurt the service later. Changes nothing.

checks.py      the checks in order: what each is called, requires and may take
finding.py     a result: level, sentence, remedy; as text and as JSON
context.py     what the checks look at, and what an earlier check opened for later ones
machine.py     CPUs, threads, open files, the job folder
limits.py      whether the limits of jobs fit the machine and each other
classifier.py  whether the classifier loads, and what it makes of a sample job; a remedy for each error code
rabbitmq.py    whether RabbitMQ accepts the connection, and its version
amqp_probe.py  questions to RabbitMQ that change nothing
queues.py      whether exchanges and queues exist as expected
permissions.py what this user may do, and whether RabbitMQ accepts messages
"""
