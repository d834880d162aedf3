"""What tests of several folders share, in packages by purpose; what one folder alone uses lives in that folder.

waiting.py          how long a test waits, and how it waits for what nobody tells it
soak.py             how often something is tried: in `make test`, in `make soak`
async_tests.py      async tests, each in a loop of its own
unprivileged.py     a user whom permissions stop
measurements.py     lines that whoever runs the tests shall read
plaid.py            where the PLAID data set is
consumer_check.py   rows of misconfigurations, and what `consumer check` tells of them
rabbitmq/           the real RabbitMQ, and those who speak to it that are not ours
processes/          our commands as processes
fakes/              stand-ins for RabbitMQ, a slot, a server
docs_pages/         the README and the pages of docs/, as tests read them
browser/            Chromium, and RabbitMQ's management console in it
monitoring/         statsd, Graphite and Prometheus, and a load to show there
"""
