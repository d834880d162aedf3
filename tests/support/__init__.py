"""What tests of several folders share, in packages by purpose; what one folder alone uses lives in that folder.

waiting.py        how long a test waits, and how it waits for what nobody tells it
async_tests.py    async tests, each in a loop of its own
unprivileged.py   a user whom permissions stop
measurements.py   lines that whoever runs the tests shall read
rabbitmq/         the real RabbitMQ, and those who speak to it that are not ours
processes/        our commands as processes
fakes/            stand-ins for RabbitMQ, a slot, a server
"""
