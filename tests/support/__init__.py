"""Code that tests of several folders share, in packages by purpose. Code for one folder is in that folder.

waiting.py          the time limit of a wait, and a wait for a condition without an event
soak.py             how often a test repeats a step: in `make test`, in `make soak`
async_tests.py      runs each async test in its own event loop
unprivileged.py     runs a block as a user to whom file permissions apply
measurements.py     the type of a function that prints a measurement for the person who runs the tests
plaid.py            finds the PLAID data set
consumer_check.py   rows of misconfigurations, and the findings of `consumer check` about them
rabbitmq/           real RabbitMQ nodes, and clients that are not part of this project
processes/          runs this project's commands as processes
fakes/              fakes of RabbitMQ, of a slot, and of a server
docs_pages/         reads README.md and the pages of docs/
browser/            headless Chromium, and RabbitMQ's management console in it
monitoring/         statsd, Graphite and Prometheus, and a load whose metrics they store
"""
